"""Exact bounds and tests for one share, such as the accuracy of a first model."""

from math import ceil, log, sqrt
from statistics import NormalDist


def lower_bound(num_correct: int, num_images: int, alpha: float) -> float:
    """The exact one-sided lower confidence bound of a share; 0 without images.

    Source: C. J. Clopper and E. S. Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial,
    Biometrika 26, 404-413.
    """
    from scipy.special import betaincinv

    return float(betaincinv(num_correct, num_images - num_correct + 1, alpha)) if num_correct else 0.0


def upper_bound(num_correct: int, num_images: int, alpha: float) -> float:
    """The exact one-sided upper confidence bound of a share; 1 without images."""
    return 1.0 - lower_bound(num_images - num_correct, num_images, alpha)


def below_p(num_correct: int, num_images: int, share: float) -> float:
    """The exact p-value of H0: the true share is at least ``share``; small values show that it is below. 1 without images."""
    from scipy.special import betainc

    if num_correct >= num_images or share <= 0:
        return 1.0
    return float(1.0 - betainc(num_correct + 1, num_images - num_correct, share))


def above_p(num_correct: int, num_images: int, share: float) -> float:
    """The exact p-value of H0: the true share is at most ``share``; small values show that it is above. 1 without images."""
    return below_p(num_images - num_correct, num_images, 1.0 - share)


def images_for_zero_failures(share: float, alpha: float, num_failures: int = 0) -> int:
    """The fewest images that, with ``num_failures`` newly broken ones, bound their true share by ``share`` at 1 - ``alpha``."""
    images = max(num_failures + 1, ceil(log(alpha) / log(1 - share)))
    while upper_bound(num_failures, images, alpha) > share:
        images += 1
    return images


def images_for_difference(margin: float, discordance: float, alpha: float, power: float = 0.8) -> int:
    """Images that a paired non-inferiority test needs when the true difference is 0: (z_a + z_b)² · discordance / margin².

    Never fewer than the zero-failure rule asks for, which holds where the normal rule does not.
    """
    normal = NormalDist()
    factor = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) ** 2
    return max(ceil(factor * discordance / margin**2), images_for_zero_failures(margin, alpha))


def images_for_share(share: float, limit: float, alpha: float, power: float = 0.8) -> int | None:
    """Images needed to show that a true ``share`` is above ``limit``; None when it is not above."""
    if share <= limit:
        return None
    normal = NormalDist()
    spread = normal.inv_cdf(1 - alpha) * sqrt(limit * (1 - limit)) + normal.inv_cdf(power) * sqrt(share * (1 - share))
    return max(1, ceil((spread / (share - limit)) ** 2))
