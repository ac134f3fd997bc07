import numpy as np
import torch

from sightline.learn.augment import _move, _relight, augment


def _images(num: int = 8) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).integers(0, 256, (num, 20, 20, 3), dtype=np.uint8))


def test_strength_zero_changes_nothing():
    images = _images()
    assert torch.equal(augment(images, 0.0, np.random.default_rng(1)), images)


def test_an_empty_batch_stays_empty():
    assert augment(_images()[:0], 1.0, np.random.default_rng(1)).shape == (0, 20, 20, 3)


def test_the_source_images_are_left_alone():
    images = _images()
    before = images.clone()
    augment(images, 1.0, np.random.default_rng(1))
    assert torch.equal(images, before)


def test_the_same_randomness_gives_the_same_images_and_another_gives_others():
    images = _images()
    first = augment(images, 0.6, np.random.default_rng(1))
    assert torch.equal(augment(images, 0.6, np.random.default_rng(1)), first)
    assert not torch.equal(augment(images, 0.6, np.random.default_rng(2)), first)
    assert first.dtype == torch.uint8


def test_without_a_shift_every_turned_image_is_one_of_the_eight_of_numpy_and_all_eight_occur():
    image = _images(1)[0].numpy()
    # 0.9: turned almost always, while round(0.12 * 0.9 * 4) shifts a 4 px image by nothing.
    small = [np.rot90(side, turns) for side in (image[:4, :4], image[:4, :4][:, ::-1]) for turns in range(4)]
    batch = torch.from_numpy(np.repeat(image[None, :4, :4], 200, axis=0))
    moved = _move(batch, 0.9, np.random.default_rng(4)).numpy()
    hits = [[i for i, one in enumerate(small) if np.array_equal(one, out)] for out in moved]
    assert all(hits)
    assert {hit[0] for hit in hits} == set(range(8))


def test_light_follows_the_formula_per_pixel():
    images = _images(1)
    rng = np.random.default_rng(9)
    gain, offset, gamma = 1 + 0.4 * rng.uniform(-1, 1, 1), 60 * rng.uniform(-1, 1, 1), np.exp(0.4 * rng.uniform(-1, 1, 1))
    expected = np.clip(np.round((((images.numpy() / 255.0) ** gamma - 0.5) * gain + 0.5) * 255 + offset), 0, 255)
    got = _relight(images, 1.0, np.random.default_rng(9)).numpy()
    assert np.abs(got.astype(int) - expected).max() <= 1
