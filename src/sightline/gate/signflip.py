"""Regressions on many overlapping slices at once: sign flips, with exact family-wise error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.evaluate.paired import Floats, Ints
from sightline.gate.bootstrap import index_clusters

BoolArray = npt.NDArray[np.bool_]

_BLOCK_BYTES = 64_000_000
# A flip that gives the observed statistic up to rounding is as extreme as it.
_TIE = 1e-9


@dataclass(frozen=True)
class SliceFlips:
    """What sign flips say about one slice.

    Attributes:
        statistic: minus the summed difference over the root of the summed squares of the clusters' differences; large for a regression.
        p_value: one-sided, of this slice alone.
        adjusted_p: at most alpha for any truly equal slice with a probability of at most alpha over all slices together.
    """

    statistic: float
    p_value: float
    adjusted_p: float


def sign_flip(
    differences_N: Floats,
    masks: Mapping[str, BoolArray],
    clusters_N: Ints | None,
    *,
    num_flips: int,
    seed: int,
    own_N: Mapping[str, Floats] | None = None,
) -> dict[str, SliceFlips]:
    """One-sided p-values for "the candidate is worse on this slice", alone and adjusted for all slices (step-down max-T).

    Were the models equal, the two answers to any image could be swapped; each flip swaps them for half of the clusters at random. Since all
    slices see the same swaps, their overlap is accounted for, and the family-wise error holds for any overlap. It is exact where
    swapping is (equal models), and holds for many clusters where only the means are equal. A p-value is never below 1 / (num_flips + 1);
    the adjusted ones need no more flips for more slices. The cost grows with the clusters that have a difference, not with the images.

    Args:
        differences_N: candidate minus reference per image; finite.
        masks: images of each slice; may overlap, may be empty.
        clusters_N: cluster of each image, swapped as one; None when each image is one.
        num_flips: random swaps, at least 1.
        seed: of the swaps.
        own_N: differences of slices that have their own, e.g. those of one class of objects.

    Returns:
        Per slice, in the order of ``masks``; a slice without any difference has p-values of 1.

    Source: P. H. Westfall and S. S. Young (1993), Resampling-based multiple testing, algorithm 4.1 (step-down max-T); J. P. Romano and
    M. Wolf (2005), Exact and approximate stepdown methods for multiple hypothesis testing, Journal of the American Statistical
    Association 100, 94-108; B. Phipson and G. K. Smyth (2010), Permutation p-values should never be zero, Statistical Applications in
    Genetics and Molecular Biology 9, article 39.
    """
    own_N = own_N or {}
    sums_KS = _studentised([own_N.get(name, differences_N) * mask for name, mask in masks.items()], clusters_N, len(differences_N))
    observed_S = -sums_KS.sum(axis=0)
    tested_S = np.asarray(np.abs(sums_KS).sum(axis=0) > 0, dtype=np.bool_)
    raw_S, adjusted_S = np.ones(len(masks)), np.ones(len(masks))
    if tested_S.any():
        raw_S[tested_S], adjusted_S[tested_S] = _p_values(sums_KS[:, tested_S], observed_S[tested_S], num_flips, seed)
    columns = zip(masks, observed_S, raw_S, adjusted_S, strict=True)
    return {name: SliceFlips(float(statistic), float(raw), float(adjusted)) for name, statistic, raw, adjusted in columns}


def _studentised(differences_SN: list[Floats], clusters_N: Ints | None, num_images: int) -> Floats:
    """Sums per cluster and slice over the root of their summed squares, which no flip changes; only clusters with a difference."""
    clusters, _ = index_clusters(clusters_N, num_images)
    differs = np.zeros(num_images, dtype=np.bool_)
    for differences in differences_SN:
        differs |= differences != 0
    rows = np.flatnonzero(differs)
    _, active = np.unique(clusters[rows], return_inverse=True)
    num_active = int(active.max()) + 1 if len(active) else 0
    sums = np.zeros((num_active, len(differences_SN)))
    for column, differences in enumerate(differences_SN):
        sums[:, column] = np.bincount(active, weights=differences[rows], minlength=num_active)
    spread = np.sqrt((sums**2).sum(axis=0))
    result: Floats = np.divide(sums, spread, out=np.zeros_like(sums), where=spread > 0)
    return result


def _p_values(sums_KS: Floats, observed_S: Floats, num_flips: int, seed: int) -> tuple[Floats, Floats]:
    order = np.argsort(-observed_S, kind="stable")
    sums_KS, observed_S = sums_KS[:, order], observed_S[order]
    num_raw, num_stepped = np.zeros(len(order)), np.zeros(len(order))
    for signs in _signs(len(sums_KS), num_flips, seed):
        flipped_BS = signs @ sums_KS
        num_raw += (flipped_BS >= observed_S - _TIE).sum(axis=0)
        # The step-down rule compares each slice with the largest statistic among itself and all less extreme slices.
        largest_BS = np.maximum.accumulate(flipped_BS[:, ::-1], axis=1)[:, ::-1]
        num_stepped += (largest_BS >= observed_S - _TIE).sum(axis=0)
    raw, adjusted = np.empty(len(order)), np.empty(len(order))
    raw[order] = (1 + num_raw) / (num_flips + 1)
    adjusted[order] = np.maximum.accumulate((1 + num_stepped) / (num_flips + 1))
    return raw, adjusted


def _signs(num_clusters: int, num_flips: int, seed: int) -> Iterator[Floats]:
    """Signs of -1 and 1, one row per flip, in blocks; one random bit each."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK_BYTES // (8 * num_clusters))
    num_bytes = -(-num_clusters // 8)
    for start in range(0, num_flips, rows):
        # Row by row from one stream of bytes (a multiple of 8 each), so that blocks of any size see the same flips.
        count = min(rows, num_flips - start)
        drawn = np.frombuffer(rng.bytes(count * -(-num_bytes // 8) * 8), dtype=np.uint8).reshape(count, -1)
        bits = np.unpackbits(drawn, axis=1, count=num_clusters)
        yield np.subtract(1.0, 2.0 * bits, dtype=np.float64)
