"""How often the gate's tests say yes and no, computed before any model exists: exact sums, no approximation by the normal curve.

The world behind every number: two models that are equally good still differ on a share ``churn`` of the images, half of them broken and
half fixed. A loss of d comes on top: broken at a rate of churn / 2 + d, fixed at churn / 2.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, pi
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from sightline.gate import bounds, tango

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

POWER = 0.8
_MARGIN_STEP = 0.001
_MAX_IMAGES = 2_000_000


@dataclass(frozen=True)
class Region:
    """The outcomes on which a non-inferiority test promotes.

    Attributes:
        fixed_from: for each number of broken images 0..n, the fewest fixed ones with which it passes; more than there are if none.
        size: the largest probability, over all churns, of passing a model that is worse by exactly the margin.
    """

    fixed_from: Ints
    size: float


@functools.lru_cache(maxsize=4096)
def promotion_region(num_images: int, margin: float, alpha: float) -> Region:
    """Where the gate's test passes at level ``alpha``: the same outcomes as ``tango.non_inferiority_p(...) <= alpha``.

    Up to ``tango.EXACT_MAX_IMAGES`` images the critical score is found by bisection over the exact unconditional p-value, above it is the
    normal one. Without images nothing passes. Cost on one core: 0.05 s at 500 images, 0.4 s at 5 000.
    """
    if num_images == 0:
        return Region(np.ones(1, dtype=np.int64), 0.0)
    if num_images > tango.EXACT_MAX_IMAGES:
        region = _plain_region(num_images, margin, alpha)
        return Region(region, float(_at_margin(region, num_images, margin).max()))
    threshold = _critical_score(num_images, margin, alpha)
    while True:
        region = tango.smallest_fixed(num_images, margin, threshold)
        edge = _edge(region, num_images, margin)
        if edge is None:
            return Region(region, 0.0)
        broken, fixed, score = edge
        # The bisection looks at a coarse grid of churns; the gate's own p-value has the last word.
        size = tango.exact_p(broken, fixed, num_images, margin)
        if size <= alpha:
            return Region(region, size)
        threshold = score + 1e-6


def _critical_score(num_images: int, margin: float, alpha: float) -> float:
    normal = NormalDist().inv_cdf(1 - alpha)
    low, high = normal - 0.15, normal + 0.05
    while _size_at(num_images, margin, high) > alpha:
        low, high = high, high + 0.2
    # 2e-4 of a standard deviation: the power changes by less than 0.01 points.
    while high - low > 2e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if _size_at(num_images, margin, middle) > alpha else (low, middle)
    return high


def _size_at(num_images: int, margin: float, threshold: float) -> float:
    return float(_at_margin(tango.smallest_fixed(num_images, margin, threshold), num_images, margin).max())


def _at_margin(region: Ints, num_images: int, margin: float) -> Floats:
    angles = np.linspace(0.0, pi / 2, 9 + int(3 * np.sqrt(num_images)))
    return tango.rejection_probability(region, num_images, margin, margin + (1 - margin) * np.sin(angles) ** 2 / 2)


def _edge(region: Ints, num_images: int, margin: float) -> tuple[int, int, float] | None:
    """The outcome with the lowest score that is still inside the region."""
    broken = np.flatnonzero(region <= num_images - np.arange(num_images + 1))
    if not len(broken):
        return None
    scores = tango.score(broken, region[broken], num_images, -margin)
    lowest = int(scores.argmin())
    return int(broken[lowest]), int(region[broken[lowest]]), float(scores[lowest])


def pass_probability(num_images: int, margin: float, alpha: float, churn: float, loss: float = 0.0) -> float:
    """The exact probability that non-inferiority is shown.

    Args:
        num_images: images, from 0.
        margin: the margin of the test.
        alpha: its level.
        churn: share of images on which equally good models differ, in [0, 1].
        loss: true loss of accuracy; negative for a better candidate.
    """
    return _probability(promotion_region(num_images, margin, alpha).fixed_from, num_images, churn, loss)


def _probability(region: Ints, num_images: int, churn: float, loss: float) -> float:
    if num_images == 0:
        return 0.0
    # A better candidate fixes more, a worse one breaks more.
    rate = churn / 2 + max(loss, 0.0)
    return float(tango.rejection_probability(region, num_images, loss, np.array([rate]))[0])


@functools.lru_cache(maxsize=4096)
def _plain_region(num_images: int, margin: float, alpha: float) -> Ints:
    return tango.smallest_fixed(num_images, margin, NormalDist().inv_cdf(1 - alpha))


def images_needed(margin: float, alpha: float, churn: float, power: float = POWER) -> int:
    """The images with which an equal model passes with probability ``power``.

    Power is a saw-tooth in the number of images; this is a place where it has reached ``power`` with the exact test, found to 1 %.
    Where the answer is above ``tango.EXACT_MAX_IMAGES`` the normal critical score is used, as the gate does.
    """

    def plain(images: int) -> bool:
        return _probability(_plain_region(images, margin, alpha), images, churn, 0.0) >= power

    start = bounds.images_for_difference(margin, churn, alpha, power)
    low, high = start // 2, start
    while not plain(high) and high < _MAX_IMAGES:
        low, high = high, ceil(high * 1.25)
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if plain(middle) else (middle, high)
    while high < _MAX_IMAGES and pass_probability(high, margin, alpha, churn) < power:
        high += max(1, high // 100)
    return high


def smallest_margin(num_images: int, alpha: float, churn: float, power: float = POWER) -> float | None:
    """The smallest margin, in steps of 0.1 points, that ``num_images`` images support: an equal model passes with probability ``power``.

    None when not even a margin of 50 points does.
    """
    if num_images == 0:
        return None

    def plain(step: int) -> bool:
        margin = step * _MARGIN_STEP
        return _probability(_plain_region(num_images, margin, alpha), num_images, churn, 0.0) >= power

    last = floor(0.5 / _MARGIN_STEP)
    found = first_true(plain, 1, last)
    while found <= last:
        margin = round(found * _MARGIN_STEP, 6)
        if pass_probability(num_images, margin, alpha, churn) >= power:
            return margin
        found += 1
    return None


def detection_probability(num_images: int, threshold: float, churn: float, loss: float) -> float:
    """The exact probability that mid-p McNemar shows a regression: p <= ``threshold`` when the candidate really loses ``loss``.

    Args:
        num_images: images, from 0.
        threshold: the largest p-value that counts as shown, e.g. alpha divided by the number of slices.
        churn: share of images on which equally good models differ.
        loss: true loss, from 0; 0 gives the false alarms.
    """
    from scipy.special import betainc, gammaln

    broken_rate, fixed_rate = min(churn / 2 + loss, 1.0), churn / 2
    rate = min(broken_rate + fixed_rate, 1.0)
    if num_images == 0 or rate <= 0:
        return 0.0
    # Ten standard deviations on each side of the number of discordant images leave out less than 1e-15.
    half = 10 * np.sqrt(num_images * rate * (1 - rate)) + 20
    first, last = max(1, floor(num_images * rate - half)), min(num_images, ceil(num_images * rate + half))
    discordant = np.arange(first, last + 1)
    log_mass = gammaln(num_images + 1) - gammaln(discordant + 1) - gammaln(num_images - discordant + 1) + discordant * np.log(rate)
    rest = num_images - discordant
    log_mass = log_mass + np.where(rest > 0, rest * np.log1p(-min(rate, 1 - 1e-16)), 0.0)
    needed = broken_from(discordant, threshold)
    share = broken_rate / (broken_rate + fixed_rate)
    tail = betainc(np.maximum(needed, 1), np.maximum(discordant - needed + 1, 1), share)
    return float((np.exp(log_mass) * np.where(needed > discordant, 0.0, tail)).sum())


def broken_from(num_discordant: Ints, threshold: float) -> Ints:
    """Of each number of discordant images, the fewest broken ones with a mid-p value of at most ``threshold``; one more where none has."""
    from scipy.special import betainc, gammaln

    total = np.asarray(num_discordant, dtype=np.int64)
    low, high = np.ones_like(total), total + 1
    while bool((low < high).any()):
        middle = np.minimum((low + high) // 2, np.maximum(total, 1))
        mass = np.exp(gammaln(total + 1) - gammaln(middle + 1) - gammaln(np.maximum(total - middle, 0) + 1) - total * np.log(2))
        mid_p = betainc(middle, np.maximum(total - middle, 0) + 1, 0.5) - mass / 2
        found, open_ = mid_p <= threshold, low < high
        high = np.where(open_ & found, np.minimum(middle, high), high)
        low = np.where(open_ & ~found, np.minimum(middle + 1, high), low)
    return high


def smallest_visible_drop(num_images: int, threshold: float, churn: float, power: float = POWER) -> float | None:
    """The smallest loss, in steps of 0.1 points, that mid-p McNemar shows with probability ``power``; None when there is none up to 50."""
    last = floor(min(0.5, 1 - churn) / _MARGIN_STEP)
    found = first_true(lambda step: detection_probability(num_images, threshold, churn, step * _MARGIN_STEP) >= power, 1, last)
    return round(found * _MARGIN_STEP, 6) if found <= last else None


def images_to_see(loss: float, threshold: float, churn: float, power: float = POWER) -> int:
    """The images of a slice with which mid-p McNemar shows a true ``loss`` with probability ``power``, found to 1 %."""
    low, high = 0, 16
    while detection_probability(high, threshold, churn, loss) < power and high < _MAX_IMAGES:
        low, high = high, high * 2
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if detection_probability(middle, threshold, churn, loss) >= power else (middle, high)
    return high


def first_true(holds: Callable[[int], bool], first: int, last: int) -> int:
    """The first whole number in first..last for which a monotone statement holds; last + 1 when none."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
