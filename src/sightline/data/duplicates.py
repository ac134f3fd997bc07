"""Near copies: a difference hash per image, and the exact set of pairs within a Hamming radius."""

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sightline.images import ImageU8

HASH_EDGE = 16
HASH_BITS = HASH_EDGE * HASH_EDGE
_MAX_BAND_BITS = 64
# Larger images are first averaged down to about this edge.
_WORKING_EDGE = 256
# Differences below this, in grey levels, are rounding: a flat image must not get random bits.
_ROUNDING = 0.01

Hashes = npt.NDArray[np.uint64]
Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def difference_hash(image: ImageU8) -> Hashes:
    """Which of its 16 × 16 cells are brighter than their left neighbours.

    The hash survives scaling, compression and changes of brightness and contrast, because all of them keep the order of neighbours.

    Args:
        image: (height, width, 3), uint8, of any size.

    Returns:
        (4,), uint64: 256 bits in row order.

    Source: N. Krawetz, "Kind of Like That" (2013), with 16 × 16 instead of 8 × 8 cells.
    """
    from PIL import Image

    factor = min(image.shape[:2]) // _WORKING_EDGE
    if factor > 1:
        image = np.asarray(Image.fromarray(image).reduce(factor))
    # Grey values stay floats until they are compared: rounded to 8 bits, neighbours tie and copies differ in up to three times the bits.
    grey = image.astype(np.float32) @ np.asarray([0.299, 0.587, 0.114], dtype=np.float32)
    cells = np.asarray(Image.fromarray(grey).resize((HASH_EDGE + 1, HASH_EDGE), Image.Resampling.LANCZOS))
    return np.packbits(cells[:, 1:] > cells[:, :-1] + _ROUNDING).view(np.uint64)


def near_pairs(hashes: Hashes, max_bits: int) -> Iterator[Pairs]:
    """All pairs of hashes that differ in at most ``max_bits`` bits, each once, in blocks.

    Exact: the 256 bits are cut into more bands than bits may differ, so that one band at least is equal in every such pair; only pairs
    that share a band are compared. The memory is proportional to the number of hashes, the time to the number of pairs that share a band.

    Args:
        hashes: (N, 4), uint64.
        max_bits: the radius, 0 to 32.

    Yields:
        Two index arrays (first < second).

    Source: Norouzi, Punjani, Fleet, "Fast Search in Hamming Space with Multi-Index Hashing" (CVPR 2012).
    """
    bands = _bands(hashes, max(max_bits + 1, HASH_BITS // _MAX_BAND_BITS))
    for number in range(bands.shape[1]):
        order = np.argsort(bands[:, number], kind="stable")
        values = bands[order, number]
        active = np.arange(len(order))
        for offset in range(1, len(order)):
            active = active[active + offset < len(order)]
            active = active[values[active] == values[active + offset]]
            if not len(active):
                break
            first, second = order[active], order[active + offset]
            near = np.bitwise_count(hashes[first] ^ hashes[second]).sum(axis=1) <= max_bits
            # A pair that also shares an earlier band was given there.
            fresh = ~(bands[first, :number] == bands[second, :number]).any(axis=1)
            chosen = near & fresh
            if chosen.any():
                yield np.minimum(first, second)[chosen], np.maximum(first, second)[chosen]


def _bands(hashes: Hashes, num_bands: int) -> Hashes:
    data = np.ascontiguousarray(hashes).view(np.uint8).reshape(len(hashes), HASH_BITS // 8)
    edges = np.linspace(0, HASH_BITS, num_bands + 1).astype(int)
    bands = np.zeros((len(hashes), num_bands), dtype=np.uint64)
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        bits = np.unpackbits(data[:, start // 8 : (stop + 7) // 8], axis=1)[:, start % 8 : start % 8 + stop - start]
        for bit in range(bits.shape[1]):
            bands[:, number] = (bands[:, number] << np.uint64(1)) | bits[:, bit]
    return bands


def near_groups(hashes: Hashes, max_bits: int) -> npt.NDArray[np.int64]:
    """The connected components of the pairs within ``max_bits``.

    Args:
        hashes: (N, 4), uint64.
        max_bits: the radius, 0 to 32.

    Returns:
        (N,), int64: for each hash the smallest index in its component.
    """
    unique, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    labels = np.arange(len(unique))
    for block in _joined(near_pairs(unique, max_bits)):
        labels = _merged(labels, block)
    smallest = np.full(len(unique), len(hashes), dtype=np.int64)
    np.minimum.at(smallest, labels, first)
    groups: npt.NDArray[np.int64] = smallest[labels][inverse.reshape(-1)]
    return groups


def _joined(blocks: Iterator[Pairs], num_pairs: int = 1_000_000) -> Iterator[Pairs]:
    """The same pairs in fewer blocks, for merging costs a pass over all labels."""
    waiting: list[Pairs] = []
    total = 0
    for block in blocks:
        waiting.append(block)
        total += len(block[0])
        if total >= num_pairs:
            yield np.concatenate([pair[0] for pair in waiting]), np.concatenate([pair[1] for pair in waiting])
            waiting, total = [], 0
    if waiting:
        yield np.concatenate([pair[0] for pair in waiting]), np.concatenate([pair[1] for pair in waiting])


def _merged(labels: npt.NDArray[np.int64], pairs: Pairs) -> npt.NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = (labels[pairs[0]], labels[pairs[1]])
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(len(labels), len(labels)))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component, dtype=np.int64)[labels]
