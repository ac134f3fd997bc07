import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from sightline.errors import UsageError
from sightline.evaluate.corruptions import STRENGTHS, chosen_rows, corrupt, describe

IDS = tuple(f"id{index}" for index in range(6))


def _images(edge: int = 48) -> np.ndarray:
    rng = np.random.default_rng(4)
    small = rng.integers(30, 200, (6, 6, 6, 3), dtype=np.uint8)
    smooth = np.stack([np.asarray(Image.fromarray(image).resize((edge, edge))) for image in small])
    return smooth + rng.integers(0, 40, smooth.shape, dtype=np.uint8)


@pytest.mark.parametrize("name", STRENGTHS)
def test_an_image_is_corrupted_the_same_way_wherever_it_stands(name):
    images = _images()
    before = images.copy()
    found = corrupt(images, name, 2, IDS)
    order = np.array([4, 0, 5, 2])
    np.testing.assert_array_equal(corrupt(images[order], name, 2, [IDS[row] for row in order]), found[order])
    np.testing.assert_array_equal(images, before)
    assert found.dtype == np.uint8
    assert found.shape == images.shape


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_higher_severity_changes_more(name):
    images = _images()
    changes = [np.abs(corrupt(images, name, severity, IDS).astype(int) - images).mean() for severity in (1, 2, 3)]
    assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("name", STRENGTHS)
def test_no_images_give_no_images(name):
    assert corrupt(np.zeros((0, 16, 16, 3), np.uint8), name, 1, ()).shape == (0, 16, 16, 3)


def test_blur_is_the_stated_gaussian():
    images = _images(64)
    wanted = gaussian_filter(images[0].astype(np.float64), (0.03 * 64, 0.03 * 64, 0), mode="nearest")
    assert np.abs(corrupt(images, "blur", 3, IDS)[0] - wanted)[4:-4, 4:-4].max() < 5


def test_noise_has_the_stated_sigma_and_differs_between_images():
    grey = np.full((6, 64, 64, 3), 128, np.uint8)
    noise = corrupt(grey, "noise", 2, IDS).astype(float) - 128
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.02)
    assert abs(noise.mean()) < 0.5
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_light_is_scaled_and_clipped():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert corrupt(ramp, "dark", 2, IDS[:1]).max() == 128
    np.testing.assert_array_equal(corrupt(ramp, "bright", 3, IDS[:1]).ravel(), np.minimum(ramp.ravel().astype(int) * 2, 255))


def test_occlusion_covers_a_grey_square_of_the_stated_edge_inside_the_image():
    black = np.zeros((6, 40, 40, 3), np.uint8)
    covered = corrupt(black, "occlusion", 2, IDS)[..., 0] == 128
    assert (covered.sum(axis=(1, 2)) == 100).all()
    assert len({tuple(np.argwhere(mask)[0]) for mask in covered}) > 3


def test_a_crop_enlarges_a_part_of_the_image():
    ramp = np.broadcast_to(np.linspace(0, 250, 50).astype(np.uint8)[None, :, None], (50, 50, 3))[None].repeat(6, axis=0)
    spans = np.ptp(corrupt(ramp, "crop", 3, IDS)[:, 25, :, 0].astype(int), axis=1)
    np.testing.assert_allclose(spans, 0.7 * 250, atol=8)


def test_lengths_follow_the_edge_of_the_image():
    black = [np.zeros((1, edge, edge, 3), np.uint8) for edge in (40, 80)]
    shares = [(corrupt(images, "occlusion", 1, IDS[:1])[..., 0] == 128).mean() for images in black]
    assert shares[0] == shares[1]


def test_the_words_state_the_strength():
    assert describe("blur", 2) == "blur (sigma 1.5 % of the edge)"
    assert describe("jpeg", 3) == "jpeg (quality 10)"
    assert describe("crop", 1) == "crop (90 % of the edge kept)"


def test_wrong_requests_are_refused_with_what_is_possible():
    with pytest.raises(UsageError, match="use one of blur"):
        corrupt(_images(), "fog", 1, IDS)
    with pytest.raises(UsageError, match="expected 1, 2 or 3"):
        describe("blur", 4)
    with pytest.raises(UsageError, match="6 images came with 2 sample ids"):
        corrupt(_images(), "blur", 1, IDS[:2])


def test_the_same_images_are_chosen_in_any_order_and_more_keep_the_earlier_ones():
    ids = np.array([f"s{index}" for index in range(50)])
    few, more = (set(ids[chosen_rows(ids, num)]) for num in (10, 20))
    assert few < more
    shuffled = np.random.default_rng(5).permutation(ids)
    assert set(shuffled[chosen_rows(shuffled, 10)]) == few
    assert chosen_rows(ids, 0).tolist() == []
    assert chosen_rows(ids, 99).tolist() == list(range(50))
    assert chosen_rows((), 3).tolist() == []


def test_at_most_one_image_of_a_cluster_is_chosen():
    ids = [f"s{index}" for index in range(50)]
    clusters = np.arange(50) // 5
    rows = chosen_rows(ids, 30, clusters)
    assert sorted(clusters[rows]) == list(range(10))
    assert set(chosen_rows(ids, 4, clusters)) < set(rows)
