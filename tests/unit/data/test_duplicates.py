import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.cluster.hierarchy import fcluster, linkage

from sightline.data.duplicates import difference_hash, near_groups, near_pairs
from sightline.images import decode


def _clustered(num: int, seed: int) -> np.ndarray:
    """Random hashes of which many are a few bits away from each other."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (max(1, num // 5), 256), dtype=np.uint8)[rng.integers(0, max(1, num // 5), num)]
    for row in bits:
        row[rng.choice(256, rng.integers(0, 12), replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


def _distances(hashes: np.ndarray) -> np.ndarray:
    bits = np.unpackbits(hashes.view(np.uint8), axis=1).astype(int)
    return np.abs(bits[:, None] - bits[None]).sum(axis=2)


def _surface(seed: int, edge: int = 120) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(40, 215, (14, 14, 3), dtype=np.uint8))
    return np.asarray(rough.resize((edge, edge), Image.Resampling.BICUBIC))


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return decode(buffer.getvalue())


def _bits(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.bitwise_count(difference_hash(first) ^ difference_hash(second)).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 32), st.integers(0, 10_000))
def test_the_pairs_are_exactly_those_of_comparing_everything(num, radius, seed):
    hashes = _clustered(num, seed)
    expected = {(i, j) for i, j in zip(*np.nonzero(_distances(hashes) <= radius), strict=True) if i < j}
    found = [pair for first, second in near_pairs(hashes, radius) for pair in zip(first.tolist(), second.tolist(), strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == expected


@pytest.mark.parametrize("radius", [0, 3, 12, 32])
def test_the_groups_are_those_of_single_linkage_clustering(radius):
    hashes = _clustered(150, seed=radius)
    condensed = _distances(hashes)[np.triu_indices(150, 1)]
    expected = fcluster(linkage(condensed, "single"), radius, "distance")
    groups = near_groups(hashes, radius)
    np.testing.assert_array_equal(groups[:, None] == groups[None], expected[:, None] == expected[None])


def test_a_group_is_named_by_its_first_member():
    hashes = _clustered(80, seed=1)
    groups = near_groups(hashes, 12)
    for label in np.unique(groups):
        assert label == np.flatnonzero(groups == label)[0]


def test_equal_hashes_are_one_group_without_looking_at_every_pair():
    groups = near_groups(np.zeros((200_000, 4), dtype=np.uint64), 12)
    assert (groups == 0).all()


def test_searching_with_too_few_bands_would_miss_pairs(monkeypatch):
    """Negative control: the number of bands is what makes the search exact."""
    hashes = _clustered(200, seed=3)
    exact = sum(len(first) for first, _ in near_pairs(hashes, 12))
    from sightline.data import duplicates

    whole = duplicates._bands
    monkeypatch.setattr(duplicates, "_bands", lambda hashes, _: whole(hashes, 4))
    assert sum(len(first) for first, _ in near_pairs(hashes, 12)) < exact


def test_the_bands_hold_every_bit_once():
    from sightline.data.duplicates import _bands

    hashes = _clustered(20, seed=4)
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    for num_bands in (4, 5, 13, 33):
        edges = np.linspace(0, 256, num_bands + 1).astype(int)
        expected = [[int("".join(map(str, row[a:b])), 2) for a, b in itertools.pairwise(edges)] for row in bits]
        np.testing.assert_array_equal(_bands(hashes, num_bands), np.asarray(expected, dtype=np.uint64))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: _jpeg(image, 60),
        lambda image: np.clip(image.astype(float) * 1.06, 0, 255).astype(np.uint8),
        lambda image: (image * 0.8 + 20).astype(np.uint8),
        lambda image: np.asarray(Image.fromarray(image).resize((61, 61), Image.Resampling.LANCZOS)),
        lambda image: np.asarray(Image.fromarray(image).resize((700, 700), Image.Resampling.BICUBIC)),
    ],
    ids=["re-encoded", "brighter", "flatter", "smaller", "larger"],
)
def test_copies_are_within_the_default_radius_and_other_images_are_not(change):
    for seed in range(5):
        assert _bits(_surface(seed), change(_surface(seed))) <= 12
        assert _bits(_surface(seed), change(_surface(seed + 100))) > 60


def test_the_hash_is_the_order_of_neighbouring_cells():
    ramp = np.repeat(np.repeat(np.linspace(0, 255, 160).astype(np.uint8)[None, :, None], 160, axis=0), 3, axis=2)
    assert np.bitwise_count(difference_hash(ramp)).sum() == 256
    assert np.bitwise_count(difference_hash(ramp[:, ::-1].copy())).sum() == 0
    for colour in ((9, 9, 9), (17, 99, 201), (255, 254, 1)):
        for shape in ((5, 7), (400, 333)):
            assert np.bitwise_count(difference_hash(np.full((*shape, 3), colour, dtype=np.uint8))).sum() == 0
