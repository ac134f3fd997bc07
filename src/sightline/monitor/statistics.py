"""Two-sample tests: Kolmogorov-Smirnov, category mix, maximum mean discrepancy, and Holm's correction over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TwoSample:
    """The result of one test.

    Attributes:
        statistic: the test's own number.
        effect: how large the difference is, in [0, 1]: a share of images for the first two tests, a distance for the third.
        p_value: in (0, 1], valid in finite samples or conservative.
    """

    statistic: float
    effect: float
    p_value: float


def kolmogorov_smirnov(reference: FloatArray, served: FloatArray) -> TwoSample:
    """The largest distance between the two empirical distribution functions; O(n log n).

    The p-value is Kolmogorov's limit, which is conservative for small samples and for ties.

    Args:
        reference: at least one value.
        served: at least one value.

    Source: Smirnov 1948, Table for estimating the goodness of fit of empirical distributions.
    """
    from scipy.special import kolmogorov

    _not_empty(len(reference), len(served))
    first, second = np.sort(reference), np.sort(served)
    points = np.concatenate([first, second])
    below_first = np.searchsorted(first, points, side="right") / len(first)
    below_second = np.searchsorted(second, points, side="right") / len(second)
    distance = float(np.abs(below_first - below_second).max())
    effective = len(first) * len(second) / (len(first) + len(second))
    return TwoSample(distance, distance, float(min(1.0, max(kolmogorov(np.sqrt(effective) * distance), np.finfo(float).tiny))))


def category_mix(reference: Sequence[str], served: Sequence[str], *, num_permutations: int, rng: np.random.Generator) -> TwoSample:
    """Pearson's chi-square between two samples of categories, its p-value by permutation, so that rare categories need no rule of thumb.

    The effect is the total variation distance: the share of images that would have to change their category; it is the largest
    Kolmogorov-Smirnov distance over all orders of the categories.
    """
    _not_empty(len(reference), len(served))
    names = sorted({*reference, *served})
    position = {name: index for index, name in enumerate(names)}
    first = np.bincount([position[name] for name in reference], minlength=len(names))
    second = np.bincount([position[name] for name in served], minlength=len(names))
    tables = rng.multivariate_hypergeometric(first + second, len(served), size=num_permutations)
    statistics = _chi_square(np.vstack([second, tables]), first + second)
    effect = 0.5 * float(np.abs(first / len(reference) - second / len(served)).sum())
    return TwoSample(float(statistics[0]), effect, _permutation_p(statistics))


def _chi_square(served_BK: npt.NDArray[np.int64], total_K: npt.NDArray[np.int64]) -> FloatArray:
    num_served = int(served_BK[0].sum())
    num_total = int(total_K.sum())
    expected = total_K * (num_served / num_total)
    # Both rows of the 2×K table deviate by the same amount, so one row and a factor give the sum over both.
    scale = num_total / (num_total - num_served)
    result: FloatArray = scale * ((served_BK - expected) ** 2 / expected).sum(axis=1)
    return result


def embedding_discrepancy(
    reference_ND: FloatArray, served_MD: FloatArray, *, num_permutations: int, rng: np.random.Generator, max_rows: int = 600
) -> TwoSample:
    """Unbiased squared maximum mean discrepancy with a Gaussian kernel, its p-value by permutation.

    Each side is a random subsample of at most ``max_rows``; the bandwidth is the median distance of the pooled rows; all permutations are
    the columns of one matrix product. Cost: (2·max_rows)² × permutations multiplications and (2·max_rows)² × 8 bytes; 600 rows a side with
    1 600 permutations take 0.3 s on two cores. The effect is the discrepancy itself, cut off at 0, in [0, √2).

    Args:
        reference_ND: at least 2 rows.
        served_MD: at least 2 rows of the same width.
        num_permutations: the p-value is at least 1 / (1 + this).
        rng: draws the subsamples and the permutations.
        max_rows: rows per side.

    Source: Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13, lemma 6.
    """
    _not_empty(len(reference_ND) // 2, len(served_MD) // 2)
    if reference_ND.shape[1] != served_MD.shape[1]:
        raise DataError(f"served embeddings have {served_MD.shape[1]} values, those of the reference {reference_ND.shape[1]}")
    first, second = (_subsample(rows, max_rows, rng) for rows in (reference_ND, served_MD))
    kernel = _gaussian_kernel(np.concatenate([first, second]))
    members = np.zeros((num_permutations + 1, len(kernel)))
    members[:, : len(first)] = 1.0
    members[1:] = rng.permuted(members[1:], axis=1)
    statistics = _unbiased_mmd(kernel, members.T)
    return TwoSample(float(statistics[0]), float(np.sqrt(max(statistics[0], 0.0))), _permutation_p(statistics))


def _subsample(rows_ND: FloatArray, max_rows: int, rng: np.random.Generator) -> FloatArray:
    return rows_ND if len(rows_ND) <= max_rows else rows_ND[rng.choice(len(rows_ND), size=max_rows, replace=False)]


def squared_distances(first_ND: FloatArray, second_MD: FloatArray) -> FloatArray:
    """Squared Euclidean distances, shape (N, M); never negative."""
    squares = (first_ND**2).sum(axis=1)[:, None] + (second_MD**2).sum(axis=1)[None, :]
    result: FloatArray = np.maximum(squares - 2.0 * first_ND @ second_MD.T, 0.0)
    return result


def _gaussian_kernel(rows_ND: FloatArray) -> FloatArray:
    centred = rows_ND - rows_ND.mean(axis=0)  # large offsets would cancel digits in the distances
    squares = squared_distances(centred, centred)
    median = float(np.median(squares[np.triu_indices(len(squares), k=1)]))
    kernel: FloatArray = np.exp(-squares / (2.0 * median if median > 0 else 1.0))
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _unbiased_mmd(kernel_NN: FloatArray, members_NB: FloatArray) -> FloatArray:
    """MMD² per column; a column marks the rows of the first sample with 1, the kernel's diagonal is 0."""
    num_first = members_NB[:, 0].sum()
    num_second = len(kernel_NN) - num_first
    within_first = np.einsum("nb,nb->b", members_NB, kernel_NN @ members_NB)
    between = kernel_NN.sum(axis=1) @ members_NB - within_first
    within_second = kernel_NN.sum() - within_first - 2.0 * between
    result: FloatArray = (
        within_first / (num_first * (num_first - 1.0))
        + within_second / (num_second * (num_second - 1.0))
        - 2.0 * between / (num_first * num_second)
    )
    return result


def _permutation_p(statistics: FloatArray) -> float:
    """The share of permutations at least as extreme as the first entry, itself included; rounding may not turn a tie into a win."""
    tolerance = 1e-12 * max(1.0, float(np.abs(statistics).max()))
    return float((statistics >= statistics[0] - tolerance).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: rejecting those at most alpha keeps the probability of any false rejection at alpha, whatever the dependence.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _not_empty(*sizes: int) -> None:
    if min(sizes) < 1:
        raise DataError("a two-sample test needs values on both sides", remedy="wait until more images were served")
