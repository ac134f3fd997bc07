"""Calibration: how far the stated confidence is from the share of right answers, and whether it got worse.

``metrics.calibration_error`` has bins of equal width, the form that papers report for one model. Here bins hold equally many answers and
are shared by both models: a good classifier puts nearly all of its answers into the last bin of equal width, and what the others hold is
noise that would drown a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

NUM_BINS = 15
# Resampling more than this many units adds cost, not knowledge: the spread of 1 000 resamples of 1 000 units is itself known to 4 %.
MAX_UNITS = 1000
MAX_RESAMPLES = 1000
# The size of shrunk gaps is estimated too: at the full level the upper end erred in up to 9.3 % of the worlds instead of 5 %.
_LEVEL = 0.5


@dataclass(frozen=True)
class Stated:
    """What one model stated and whether it was right.

    Attributes:
        correct_N: right answers.
        confidence_N: confidence of each answer in [0, 1].
    """

    correct_N: BoolArray
    confidence_N: npt.NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.correct_N)


@dataclass(frozen=True)
class Reliability:
    """The points of a reliability curve, one per bin that holds answers, by rising confidence.

    Attributes:
        num_K: answers in the bin.
        confidence_K: their mean confidence.
        accuracy_K: the share of right ones.
    """

    num_K: npt.NDArray[np.int64]
    confidence_K: Floats
    accuracy_K: Floats


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; ``error`` is the standard deviation of the value at the upper end."""

    value: float
    low: float
    high: float
    error: float


def bin_edges(confidence_N: npt.NDArray[np.floating], num_bins: int = NUM_BINS) -> Floats:
    """Inner edges of bins that hold equally many of the given confidences; fewer where many are equal, none without any."""
    if not len(confidence_N):
        return np.zeros(0)
    quantiles = np.quantile(confidence_N.astype(np.float64), np.arange(1, num_bins) / num_bins)
    edges: Floats = np.unique(quantiles)
    return edges


def shared_edges(old: Stated, new: Stated) -> Floats:
    """Inner edges of bins that hold equally many of all confidences of two models."""
    return bin_edges(np.concatenate([old.confidence_N, new.confidence_N]))


def reliability(stated: Stated, edges: Floats) -> Reliability:
    """Mean confidence and accuracy per bin; no points without answers.

    Args:
        stated: the answers.
        edges: inner edges, see ``bin_edges``; an answer on an edge is in the bin above it.
    """
    bins = np.searchsorted(edges, stated.confidence_N, side="right")
    size = len(edges) + 1
    num = np.bincount(bins, minlength=size)
    confidence = np.bincount(bins, weights=stated.confidence_N.astype(np.float64), minlength=size)
    hits = np.bincount(bins, weights=stated.correct_N.astype(np.float64), minlength=size)
    used = num > 0
    return Reliability(num[used], confidence[used] / num[used], hits[used] / num[used])


def expected_error(stated: Stated, edges: Floats | None = None) -> float:
    """Expected calibration error in [0, 1] over bins of equally many answers; NaN without answers.

    It is never 0 by chance: a perfectly calibrated model shows about sqrt(bins x variance of the answers / images).

    Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning, AAAI (the
    measure); K. Nguyen, B. O'Connor (2015), Posterior calibration and exploratory analysis for NLP models, EMNLP (equal-mass bins).
    """
    if not len(stated):
        return float("nan")
    curve = reliability(stated, bin_edges(stated.confidence_N) if edges is None else edges)
    return float((curve.num_K * np.abs(curve.confidence_K - curve.accuracy_K)).sum() / len(stated))


def brier(stated: Stated) -> float:
    """The top-label Brier score: mean squared distance of confidence and being right, in [0, 1]; NaN without answers."""
    if not len(stated):
        return float("nan")
    return float(np.square(stated.confidence_N.astype(np.float64) - stated.correct_N).mean())


def error_interval(stated: Stated, clusters_N: npt.NDArray[np.int64] | None, alpha: float, num_resamples: int) -> Estimate:
    """The expected calibration error of one model with an interval whose ends each err with probability ``alpha``.

    See ``error_rise`` for the method; the ends are kept in [0, 1]. Without answers everything is NaN.
    """
    edges = bin_edges(stated.confidence_N)
    found = _estimate(_Gaps.of([stated], edges), clusters_N, alpha, num_resamples)
    return Estimate(found.value, max(found.low, 0.0), min(max(found.high, 0.0), 1.0), found.error)


def error_rise(old: Stated, new: Stated, clusters_N: npt.NDArray[np.int64] | None, alpha: float, num_resamples: int) -> Estimate:
    """How much the expected calibration error rose, with an interval whose ends each err with probability ``alpha``.

    Both models share the bins, which hold equally many of all their confidences, and the resamples. Noise makes an error of calibration
    larger, most for the better calibrated model, so that percentiles of resampled differences hide a rise: where a calibrated model of
    500 images loses 7 points, 92 % of their upper ends are below the truth, and 44 % after taking off the bias that resampling shows (300
    worlds; here at most 5 % at 200 and 1 000 images). Hence a test is inverted: an end is the rise under which a difference as small
    (large) as the observed one becomes rare, when the first model's gaps are those observed, shrunk by what noise explains, the second
    one's are scaled to that rise, and the noise is the resampled one.

    Args:
        old: the reference's answers.
        new: the candidate's answers to the same images.
        clusters_N: cluster index per image, which are resampled as a whole; None: every image by itself.
        alpha: one-sided level.
        num_resamples: at most ``MAX_RESAMPLES`` are drawn. 100 000 images take 0.3 s on one core. Without images everything is NaN.

    Source: B. Efron, R. J. Tibshirani (1993), An introduction to the bootstrap, chapter 16 (resampling under the
    hypothesis); W. James, C. Stein (1961), Estimation with quadratic loss, Fourth Berkeley Symposium 1, 361-379 (shrinkage).
    """
    edges = shared_edges(old, new)
    return _estimate(_Gaps.of([old, new], edges), clusters_N, alpha, num_resamples)


@dataclass(frozen=True)
class _Gaps:
    """Confidence minus being right, in the column of the answer's bin, and the variance of the mean gaps of calibrated answers."""

    gaps_MNK: npt.NDArray[np.float32]
    variance_MK: Floats

    @classmethod
    def of(cls, models: Sequence[Stated], edges: Floats) -> "_Gaps":
        shape = (len(models), len(models[0]), len(edges) + 1)
        gaps, variance = np.zeros(shape, dtype=np.float32), np.zeros((shape[0], shape[2]))
        for row, stated in enumerate(models):
            confidence = stated.confidence_N.astype(np.float64)
            bins = np.searchsorted(edges, stated.confidence_N, side="right")
            gaps[row, np.arange(shape[1]), bins] = confidence - stated.correct_N
            variance[row] = np.bincount(bins, weights=confidence * (1 - confidence), minlength=shape[2]) / max(shape[1], 1) ** 2
        return cls(gaps, variance)


def _estimate(gaps: _Gaps, clusters_N: npt.NDArray[np.int64] | None, alpha: float, num_resamples: int) -> Estimate:
    """Of the last model's error minus the first one's; of the error itself when there is one model."""
    if not gaps.gaps_MNK.shape[1]:
        return Estimate(*(float("nan"),) * 4)
    mean_MK = gaps.gaps_MNK.mean(axis=1, dtype=np.float64)
    noise_BMK = _resampled(gaps.gaps_MNK, clusters_N, min(num_resamples, MAX_RESAMPLES)) - mean_MK
    # A bin without a wrong answer shows no noise when resampled, though the next sample may well hold one.
    unseen_MK = np.maximum(gaps.variance_MK - noise_BMK.var(axis=0), 0)
    noise_BMK += np.sqrt(unseen_MK) * np.random.default_rng(2).standard_normal(noise_BMK[:, :1].shape)
    if len(mean_MK) == 1:
        nothing = np.zeros_like(mean_MK), np.zeros_like(noise_BMK)
        mean_MK, noise_BMK = np.concatenate([nothing[0], mean_MK]), np.concatenate([nothing[1], noise_BMK], axis=1)
    value = float(np.abs(mean_MK[1]).sum() - np.abs(mean_MK[0]).sum())
    z = NormalDist().inv_cdf(1 - alpha * _LEVEL)
    high, error = _largest_rise(mean_MK, noise_BMK, z)
    low = -_largest_rise(mean_MK[::-1], noise_BMK[:, ::-1], z)[0]
    return Estimate(value, min(low, value), max(high, value), error)


def _largest_rise(mean_MK: Floats, noise_BMK: Floats, z: float) -> tuple[float, float]:
    """The largest rise from the first to the second model under which one as small as the observed is not yet rare; and its spread."""
    base = _shrunk(mean_MK[0], noise_BMK[:, 0].var(axis=0))
    shape = mean_MK[1] if mean_MK[1].any() else np.ones(mean_MK.shape[1])
    shape = shape / np.abs(shape).sum()
    start, observed = float(np.abs(base).sum()), float(np.abs(mean_MK[1]).sum() - np.abs(mean_MK[0]).sum())
    old_B = np.abs(base + noise_BMK[:, 0]).sum(axis=1)
    low, high, spread = -start, 1.0, 0.0
    for _ in range(30):
        rise = (low + high) / 2
        rises_B = np.abs((start + rise) * shape + noise_BMK[:, 1]).sum(axis=1) - old_B
        spread = float(rises_B.std(ddof=1))
        low, high = (low, rise) if rises_B.mean() - z * spread > observed else (rise, high)
    return low, spread


def _shrunk(mean_K: Floats, variance_K: Floats) -> Floats:
    """Gaps, less the share of their sum of squares that noise explains: one unit per bin."""
    energy = float(np.divide(mean_K**2, variance_K, out=np.zeros_like(mean_K), where=variance_K > 0).sum())
    factor = max(0.0, 1 - int((variance_K > 0).sum()) / energy) if energy else 0.0
    shrunk: Floats = np.where(variance_K > 0, factor, 1.0) * mean_K
    return shrunk


def _resampled(gaps_MNK: npt.NDArray[np.float32], clusters_N: npt.NDArray[np.int64] | None, size: int) -> Floats:
    """The mean gap per bin of each model on each resample, shape (resamples, models, bins)."""
    num_models, num_images, num_bins = gaps_MNK.shape
    units_N, num_units = _units(clusters_N, num_images)
    table = np.zeros((num_units, num_models * num_bins + 1), dtype=np.float32)
    np.add.at(table[:, :-1], units_N, gaps_MNK.transpose(1, 0, 2).reshape(num_images, -1))
    table[:, -1] = np.bincount(units_N, minlength=num_units)
    drawn = np.random.default_rng(0).integers(0, num_units, (size, num_units))
    drawn += np.arange(size)[:, None] * num_units
    weights = np.bincount(drawn.ravel(), minlength=size * num_units).reshape(size, num_units).astype(np.float32)
    totals = (weights @ table).astype(np.float64)
    means: Floats = (totals[:, :-1] / totals[:, -1:]).reshape(size, num_models, num_bins)
    return means


def _units(clusters_N: npt.NDArray[np.int64] | None, num_images: int) -> tuple[npt.NDArray[np.int64], int]:
    """What is resampled: the cluster of each image, or random unions of clusters where there are more than ``MAX_UNITS``."""
    units = np.arange(num_images) if clusters_N is None else np.unique(clusters_N, return_inverse=True)[1]
    num = int(units.max(initial=-1)) + 1
    if num > MAX_UNITS:
        units = np.random.default_rng(1).permutation(num)[units] % MAX_UNITS
    return units.astype(np.int64), min(num, MAX_UNITS)
