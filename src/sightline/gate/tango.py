"""Tango's score test for a paired difference of accuracies: non-inferiority, exact for small n, and its interval."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Up to here the p-value is exact; above it the plain test's size is within about half a point of the nominal 5 %.
EXACT_MAX_IMAGES = 5000


def score(num_broken: npt.ArrayLike, num_fixed: npt.ArrayLike, num_images: float | Array, difference: npt.ArrayLike) -> Array:
    """Tango's statistic for H0: accuracy_new - accuracy_old = ``difference``; large values speak for a better candidate.

    Args:
        num_broken: images that only the old model answers correctly; broadcasts.
        num_fixed: images that only the new model answers correctly.
        num_images: all images, at least 1; of the same shape where it is an array.
        difference: hypothetical differences in (-1, 1).

    Returns:
        The statistic, standard normal under H0 for large n; 0 where there is neither discordance nor a difference to test.

    Source: T. Tango (1998), Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Statistics in Medicine 17, 891-908.
    """
    broken, fixed, delta = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (num_broken, num_fixed, difference)))
    # Solved for the smaller of the two discordance rates: there the quadratic has no cancellation.
    size = np.abs(delta)
    smaller = np.where(delta < 0, fixed, broken)
    linear = (broken + fixed) - size * (2 * num_images + 2 * smaller - broken - fixed)
    rate = (linear + np.sqrt(linear**2 + 8 * num_images * smaller * size * (1 - size))) / (4 * num_images)
    rate = np.clip(rate, 0.0, (1 - size) / 2)
    variance = num_images * (2 * rate + size - size**2)
    distance = fixed - broken - num_images * delta
    result: Array = np.divide(distance, np.sqrt(variance), out=np.zeros_like(distance), where=variance > 0)
    return result


def non_inferiority_p(num_broken: int, num_fixed: int, num_images: int, margin: float) -> tuple[float, str]:
    """The one-sided p-value of H0: the new model's accuracy is lower by ``margin`` or more, and the name of the test.

    Exact unconditional up to ``EXACT_MAX_IMAGES`` images, asymptotic above. Without images the p-value is 1.
    """
    if num_images == 0:
        return 1.0, "no images"
    if num_images <= EXACT_MAX_IMAGES:
        return exact_p(num_broken, num_fixed, num_images, margin), "Tango score, exact unconditional"
    return asymptotic_p(num_broken, num_fixed, num_images, margin), "Tango score"


def asymptotic_p(num_broken: int, num_fixed: int, num_images: int, margin: float) -> float:
    """The one-sided normal p-value of Tango's statistic at a difference of ``-margin``."""
    from statistics import NormalDist

    return NormalDist().cdf(-float(score(num_broken, num_fixed, num_images, -margin)))


def exact_p(num_broken: int, num_fixed: int, num_images: int, margin: float) -> float:
    """The exact unconditional p-value: the largest probability, over all discordance rates at the margin, of a score at least this large.

    Cost on one core: 0.02 s at 500 images, 0.17 s at 5 000.

    Source: I. S. F. Chan and Z. Zhang (1999), Test-based exact confidence intervals for the difference of two binomial proportions,
    Biometrics 55, 1202-1209 (unconditional maximisation over the nuisance parameter), with Tango's statistic.
    """
    observed = float(score(num_broken, num_fixed, num_images, -margin))
    return float(_sup_rejection(smallest_fixed(num_images, margin, observed), num_images, margin))


def smallest_fixed(num_images: int, margin: float, threshold: float) -> npt.NDArray[np.int64]:
    """For each number of broken images 0..n, the smallest number of fixed ones whose score reaches ``threshold``.

    The score grows with the fixed images, so bisection finds it; n - broken + 1 where no table reaches it.
    """
    broken = np.arange(num_images + 1)
    low = np.zeros(num_images + 1, dtype=np.int64)
    high = num_images - broken + 1
    while bool((low < high).any()):
        middle = (low + high) // 2
        reached = score(broken, np.minimum(middle, num_images - broken), num_images, -margin) >= threshold - 1e-9
        open_ = low < high
        high = np.where(open_ & reached, middle, high)
        low = np.where(open_ & ~reached, middle + 1, low)
    return high


def rejection_probability(fixed_from: npt.NDArray[np.int64], num_images: int, margin: float, rates: Array) -> Array:
    """The exact probability that fixed >= ``fixed_from[broken]`` when the true difference is ``-margin``.

    Args:
        fixed_from: the test's region, see ``smallest_fixed``.
        num_images: images.
        margin: true loss of accuracy, in [0, 1); may differ from the one that is tested.
        rates: true rates of broken images, in [margin, (1 + margin) / 2].
    """
    from scipy.special import betainc, gammaln

    n = num_images
    rates = np.clip(rates, 1e-12, 1 - 1e-12)
    # Ten standard deviations on each side leave out less than 1e-15.
    half = 10 * np.sqrt(n * rates * (1 - rates)) + 20
    first = np.maximum(0, np.floor(n * rates - half)).astype(np.int64)
    width = int(min(n + 1, np.ceil(2 * half.max()) + 2))
    broken = first[:, None] + np.arange(width)[None, :]
    inside = broken <= n
    broken = np.minimum(broken, n)
    log_mass = gammaln(n + 1) - gammaln(broken + 1) - gammaln(n - broken + 1)
    log_mass = log_mass + broken * np.log(rates)[:, None] + (n - broken) * np.log1p(-rates)[:, None]
    mass = np.where(inside, np.exp(log_mass), 0.0)
    share = np.clip((rates - margin) / (1 - rates), 0.0, 1.0)[:, None]
    needed, left = fixed_from[broken], n - broken
    tail = betainc(np.maximum(needed, 1), np.maximum(left - needed + 1, 1), share)
    tail = np.where(needed <= 0, 1.0, np.where(needed > left, 0.0, tail))
    result: Array = (mass * tail).sum(axis=1)
    return result


def _sup_rejection(fixed_from: npt.NDArray[np.int64], num_images: int, margin: float) -> float:
    """The maximum over the nuisance rate: a grid of quarter standard deviations of the number of discordant images, refined twice.

    Against a grid of 4 001 points on 60 random tables (60 to 1 500 images) the largest relative error was 2.5e-6.
    """
    low, high = 0.0, np.pi / 2
    angles = np.linspace(low, high, 9 + int(8 * (high - low) * np.sqrt(num_images)))
    best = 0.0
    for _ in range(3):
        found = rejection_probability(fixed_from, num_images, margin, margin + (1 - margin) * np.sin(angles) ** 2 / 2)
        best = max(best, float(found.max()))
        step = angles[1] - angles[0]
        peaks = angles[np.argsort(found)[-3:]]
        angles = np.unique(np.clip(np.concatenate([np.linspace(peak - step, peak + step, 9) for peak in peaks]), low, high))
    return min(1.0, best)


def interval(num_broken: float, num_fixed: float, num_images: float, level: float) -> tuple[float, float]:
    """The score interval of accuracy_new - accuracy_old, by inverting the test.

    Args:
        num_broken: images that only the old model answers correctly; not whole where counts were divided by a design effect.
        num_fixed: images that only the new model answers correctly.
        num_images: all images; without any the interval is (-1, 1).
        level: two-sided confidence, e.g. 0.9, whose lower end is the one-sided 95 % bound.
    """
    from statistics import NormalDist

    if num_images == 0:
        return -1.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    targets = np.array([z, -z])
    low, high = np.full(2, -1 + 1e-12), np.full(2, 1 - 1e-12)
    for _ in range(60):
        middle = (low + high) / 2
        above = score(num_broken, num_fixed, num_images, middle) > targets
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    estimate = (num_fixed - num_broken) / num_images
    return min(float(low[0]), estimate), max(float(high[1]), estimate)
