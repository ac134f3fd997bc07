"""Simulated golden sets of images in groups, and what the gate's tests say on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from sightline.gate import power, tango
from sightline.gate.clusters import PSEUDO_CLUSTERS, student_inflation

BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SEED = 21
_ROUNDING, _FLOAT_TIE = 1e-9, 1e-5
_SWAPPED_WORLDS, _SWAPS = 400, 500
# The exact test's critical score is the normal one times 0.99 to 1.08, mostly 1.02 (62 to 600 images, margins 1 to 10 points, alpha 0.0003
# to 0.05); below 60 images it may be anywhere.
_LEAST, _TYPICAL, _MOST, _FEW_IMAGES = 0.97, 1.02, 1.1, 60


@dataclass(frozen=True)
class Counts:
    """What the gate's tests are made of, per world.

    Attributes:
        images_W, broken_W, fixed_W: reduced to independent images as ``clusters.effective`` does it, for the test of non-inferiority.
        design_effect_W: by which they were divided.
        statistic_W: of a swap of whole groups, see ``signflip``: large for a regression; 0 where nothing changed.
        moved_W: groups with a difference, on which the swaps depend.
        better_W: those of them that are better.
    """

    images_W: Ints
    broken_W: Ints
    fixed_W: Ints
    design_effect_W: Floats
    statistic_W: Floats
    moved_W: Ints
    better_W: Ints


@dataclass(frozen=True)
class Worlds:
    """Golden sets on which a candidate answers; one uniform number per image decides what changes.

    Attributes:
        draws_WN: shape (worlds, images), in [0, 1), the images of a group side by side.
        sizes_K: images per group, in the order of the images.
        alpha: level of the tests, at which design effects are inflated for few groups.
    """

    draws_WN: npt.NDArray[np.float32]
    sizes_K: Ints
    alpha: float = 0.05

    def __len__(self) -> int:
        return len(self.draws_WN)

    @classmethod
    def draw(cls, sizes_K: Ints, together: float, num_worlds: int, alpha: float = 0.05) -> "Worlds":
        """Worlds in which, in a share ``together`` of the groups, all images change together, and in the others each by itself."""
        rng = np.random.default_rng(_SEED)
        index_N = np.repeat(np.arange(len(sizes_K)), sizes_K)
        draws = rng.random((num_worlds, len(index_N)), dtype=np.float32)
        common = rng.random((num_worlds, len(sizes_K)), dtype=np.float32)
        as_one = rng.random((num_worlds, len(sizes_K)), dtype=np.float32) < together
        return cls(np.where(as_one[:, index_N], common[:, index_N], draws), sizes_K, alpha)

    def part(self, mask_N: BoolArray) -> "Worlds":
        """The images of a slice, in the same worlds."""
        ends = np.cumsum(self.sizes_K)
        sums = np.concatenate([[0], np.cumsum(mask_N)])
        sizes = sums[ends] - sums[ends - self.sizes_K]
        return Worlds(self.draws_WN[:, mask_N], sizes[sizes > 0].astype(np.int64), self.alpha)

    def counts(self, churn: float, loss: float = 0.0) -> Counts:
        """What the gate counts when equal models differ on a share ``churn`` of the images and ``loss`` comes on top."""
        if not len(self.sizes_K):
            nothing = np.zeros(len(self), dtype=np.int64)
            return Counts(nothing, nothing, nothing, np.ones(len(self)), np.zeros(len(self)), nothing, nothing)
        starts = np.cumsum(self.sizes_K) - self.sizes_K
        broken, fixed = self.draws_WN < churn / 2 + loss, self.draws_WN >= 1 - churn / 2
        broken_WK, fixed_WK = (np.add.reduceat(changed, starts, axis=1, dtype=np.int64) for changed in (broken, fixed))
        return effective_counts(broken_WK, fixed_WK, self.sizes_K, self.alpha)


def effective_counts(broken_WK: Ints, fixed_WK: Ints, sizes_K: Ints, alpha: float = 0.05) -> Counts:
    """What ``clusters.effective`` and ``signflip`` make of each world, for many worlds at once.

    Args:
        broken_WK: broken images per world and group.
        fixed_WK: fixed ones.
        sizes_K: images per group, at least one group.
        alpha: level of the tests.
    """
    images, broken_W, fixed_W = int(sizes_K.sum()), broken_WK.sum(axis=1), fixed_WK.sum(axis=1)
    effect_W = np.ones(len(broken_WK)) if len(sizes_K) == images else design_effects(broken_WK, fixed_WK, sizes_K, alpha)
    left_W = _down(images / effect_W)
    against_W = np.minimum(_up(broken_W / effect_W), left_W)
    for_W = np.minimum(_down(fixed_W / effect_W), left_W - against_W)
    lost_WK = (broken_WK - fixed_WK).astype(np.float64)
    spread_W = np.sqrt((lost_WK**2).sum(axis=1))
    statistic_W = np.divide(lost_WK.sum(axis=1), spread_W, out=np.zeros(len(spread_W)), where=spread_W > 0)
    moved_W, better_W = np.count_nonzero(lost_WK, axis=1), np.count_nonzero(lost_WK < 0, axis=1)
    return Counts(left_W, against_W, for_W, effect_W, statistic_W, moved_W, better_W)


def design_effects(broken_WK: Ints, fixed_WK: Ints, sizes_K: Ints, alpha: float = 0.05) -> Floats:
    """The design effect of each world, inflated for few groups; see ``clusters.design_effect`` and ``clusters.effective``."""
    num_groups, images = len(sizes_K), int(sizes_K.sum())
    largest = float((sizes_K.astype(np.float64) ** 2).sum()) / images
    net_WK = (fixed_WK - broken_WK).astype(np.float64)
    mean_W = net_WK.sum(axis=1) / images
    simple_W = (broken_WK + fixed_WK).sum(axis=1) / images - mean_W**2
    inflation = student_inflation(num_groups - 1, alpha)
    if num_groups < 2:
        return np.full(len(broken_WK), inflation)
    residuals_WK = net_WK - sizes_K * mean_W[:, None]
    defined = simple_W > 0
    observed_W = num_groups / (num_groups - 1) * (residuals_WK**2).sum(axis=1) / images / np.where(defined, simple_W, 1.0)
    moved_W = np.count_nonzero(broken_WK + fixed_WK, axis=1)
    drawn_W = (moved_W * np.maximum(observed_W, 1.0) + PSEUDO_CLUSTERS * largest) / (moved_W + PSEUDO_CLUSTERS)
    effects: Floats = np.maximum(np.where(defined, drawn_W, largest), 1.0) * inflation
    return effects


def passes(counts: Counts, margin: float, alpha: float) -> BoolArray:
    """In which worlds non-inferiority is shown: the p-value is at most ``alpha``, exact where the normal score leaves a doubt."""
    scores_W = _scores(counts, margin)
    critical = NormalDist().inv_cdf(1 - alpha)
    passed: BoolArray = scores_W >= _MOST * critical
    doubt = (scores_W >= _LEAST * critical) & ~passed | (counts.images_W < _FEW_IMAGES)
    for world in np.flatnonzero(doubt):
        outcome = int(counts.broken_W[world]), int(counts.fixed_W[world]), int(counts.images_W[world])
        passed[world] = _non_inferiority_p(*outcome, margin) <= alpha
    return passed


def nearly_passes(counts: Counts, margin: float, alpha: float) -> BoolArray:
    """The same by the normal score with the correction that is typical of the exact test; a hundred times faster."""
    passed: BoolArray = (_scores(counts, margin) >= _TYPICAL * NormalDist().inv_cdf(1 - alpha)) & (counts.images_W > 0)
    return passed


@lru_cache(maxsize=100_000)
def _non_inferiority_p(num_broken: int, num_fixed: int, num_images: int, margin: float) -> float:
    return tango.non_inferiority_p(num_broken, num_fixed, num_images, margin)[0]


def _scores(counts: Counts, margin: float) -> Floats:
    images_W = np.maximum(counts.images_W, 1).astype(np.float64)
    return tango.score(counts.broken_W, counts.fixed_W, images_W, -margin) if len(images_W) else np.zeros(0)


@dataclass(frozen=True)
class Swaps:
    """Swaps of whole groups on all slices of equally good models, which tell what a slice must show beside the others.

    Attributes:
        alarmed_W: in which of the first worlds any slice is shown to be worse.
        largest: the largest statistic of any slice, in all swaps of all worlds, sorted.
        num_slices: slices that are judged.
    """

    alarmed_W: BoolArray
    largest: Floats
    num_slices: int

    def adjusted_p(self, counts: Counts) -> Floats:
        """The p-value of one slice beside the others in each world, as if its own swaps were independent of those of the others.

        Too large for a few groups: a slice of 5 that loses 50 points is seen in 71 % of worlds, not in 35 %; of 40 groups, 97 and 94 %.
        """
        return _either(swap_p(counts), self._beaten(counts.statistic_W))

    def raw_p(self, alpha: float) -> float:
        """The p-value that a slice by itself must reach, so that its adjusted one is ``alpha``."""
        statistics = np.linspace(0.0, 8.0, 1601)
        alone = _upper_tail(statistics)
        enough = _either(alone, self._beaten(statistics)) <= alpha
        return float(alone[enough][:1].sum())

    def _beaten(self, statistics: Floats) -> Floats:
        """How often another slice has a larger statistic in a swap; the slice itself is one of those that were counted."""
        above = len(self.largest) - np.searchsorted(self.largest, statistics - _ROUNDING)
        shares: Floats = above / max(len(self.largest), 1) * (1 - 1 / max(self.num_slices, 1))
        return shares


def _either(one: Floats, other: Floats) -> Floats:
    both: Floats = 1 - (1 - one) * (1 - other)
    return both


def swap_p(counts: Counts) -> Floats:
    """The p-value of a swap of whole groups in each world.

    Exact where every group with a difference is worse; else by the normal curve with half a step of a group taken off, which is a little
    more than exact.
    """
    moved_W = counts.moved_W
    tail_W = _upper_tail(counts.statistic_W - 1 / np.sqrt(np.maximum(moved_W, 1)))
    found: Floats = np.where(counts.better_W == 0, 0.5**moved_W, tail_W)
    return found


def swap_slices(worlds: Worlds, masks_SN: Sequence[BoolArray], churn: float, alpha: float) -> Swaps:
    """Swaps on the slices of equally good models, as ``signflip.sign_flip`` makes them, in the first worlds.

    Args:
        worlds: all golden images.
        masks_SN: the slices that are judged, over the images in the order of the worlds.
        churn: share of images on which the models differ.
        alpha: family-wise error over the slices.
    """
    number = min(len(worlds), _SWAPPED_WORLDS)
    if not masks_SN:
        return Swaps(np.zeros(number, dtype=np.bool_), np.zeros(0), 0)
    member_NS = np.stack(masks_SN, axis=1).astype(np.float32)
    index_N = np.repeat(np.arange(len(worlds.sizes_K)), worlds.sizes_K)
    signs_BK = np.random.default_rng(_SEED).choice(np.array([-1, 1], dtype=np.float32), (_SWAPS, len(worlds.sizes_K)))
    alarmed_W, largest = np.zeros(number, dtype=np.bool_), []
    for world, draws_N in enumerate(worlds.draws_WN[:number]):
        rows = np.flatnonzero((draws_N < churn / 2) | (draws_N >= 1 - churn / 2))
        if not len(rows):
            continue
        lost_NS = member_NS[rows] * np.where(draws_N[rows] < churn / 2, 1, -1).astype(np.float32)[:, None]
        sums_KS = np.add.reduceat(lost_NS, np.flatnonzero(np.diff(index_N[rows], prepend=-1)), axis=0)
        sums_KS /= np.maximum(np.sqrt((sums_KS**2).sum(axis=0)), 1e-6)
        swapped_B = (signs_BK[:, : len(sums_KS)] @ sums_KS).max(axis=1)
        largest.append(swapped_B)
        alarmed_W[world] = (1 + int((swapped_B >= float(sums_KS.sum(axis=0).max()) - _FLOAT_TIE).sum())) / (_SWAPS + 1) <= alpha
    return Swaps(alarmed_W, np.sort(np.concatenate([np.zeros(0), *largest])), len(masks_SN))


def _upper_tail(statistics: Floats) -> Floats:
    from scipy.special import ndtr

    tail: Floats = ndtr(-statistics)
    return tail


def smallest_margin(counts: Counts, alpha: float, share: float = power.POWER) -> float | None:
    """The smallest margin, in steps of 0.1 points up to 50, that is passed in this share of the worlds; None where there is none."""
    found = power.first_true(lambda step: float(nearly_passes(counts, step / 1000, alpha).mean()) >= share, 1, 500)
    while found <= 500:
        if float(passes(counts, found / 1000, alpha).mean()) >= share:
            return found / 1000
        found += 1 + found // 50
    return None


def grown(sizes_K: Ints, num_images: int) -> Ints:
    """The sizes of more groups of the same kind: those given, again and again, until there are ``num_images`` images."""
    repeated = np.tile(sizes_K, -(-num_images // int(sizes_K.sum())))
    ends = np.cumsum(repeated)
    last = int(np.searchsorted(ends, num_images))
    repeated = repeated[: last + 1].copy()
    repeated[last] -= ends[last] - num_images
    return repeated[repeated > 0]


def _down(counts: Floats) -> Ints:
    return np.floor(counts + _ROUNDING).astype(np.int64)


def _up(counts: Floats) -> Ints:
    return np.ceil(counts - _ROUNDING).astype(np.int64)
