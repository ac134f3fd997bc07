import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sightline.gate import tango


def _score_by_search(broken: int, fixed: int, images: int, difference: float) -> float:
    """Tango's statistic with the constrained likelihood maximised numerically."""

    def loss(rate: float) -> float:
        shares = np.array([rate, rate + difference, 1 - 2 * rate - difference])
        counts = np.array([broken, fixed, images - broken - fixed])
        return -float((counts[counts > 0] * np.log(np.maximum(shares[counts > 0], 1e-300))).sum())

    low, high = max(0.0, -difference), (1 - difference) / 2
    rate = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    return (fixed - broken - images * difference) / np.sqrt(images * (2 * rate + difference - difference**2))


def _probability_by_enumeration(images: int, margin: float, threshold: float, rate: float) -> float:
    """The size of the region by summing the trinomial over every table."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, images + 1)))])
    broken, fixed = (
        grid[np.add.outer(np.arange(images + 1), np.arange(images + 1)) <= images] for grid in np.indices((images + 1, images + 1))
    )
    rest = images - broken - fixed
    shares = (rate, rate - margin, 1 - 2 * rate + margin)
    logs = log_factorial[images] + sum(
        count * np.log(max(share, 1e-300)) - log_factorial[count] for count, share in zip((broken, fixed, rest), shares, strict=True)
    )
    return float(np.exp(logs)[tango.score(broken, fixed, images, -margin) >= threshold - 1e-9].sum())


@pytest.mark.parametrize("difference", [-0.3, -0.05, -0.01, 0.02, 0.2])
@pytest.mark.parametrize(("broken", "fixed", "images"), [(3, 7, 40), (0, 4, 60), (5, 0, 60), (20, 21, 100), (1, 1, 30)])
def test_the_score_equals_a_numerical_maximisation_of_the_likelihood(broken, fixed, images, difference):
    assert tango.score(broken, fixed, images, difference) == pytest.approx(_score_by_search(broken, fixed, images, difference), abs=1e-4)


def test_the_score_without_discordant_images_is_defined():
    assert tango.score(0, 0, 100, -0.03) == pytest.approx(np.sqrt(100 * 0.03 / 0.97))
    assert tango.score(0, 0, 100, 0.0) == 0.0


def test_the_score_at_difference_zero_is_mcnemars():
    assert tango.score(4, 13, 50, 0.0) == pytest.approx((13 - 4) / np.sqrt(13 + 4))


def test_swapping_the_models_changes_the_sign():
    assert tango.score(3, 9, 80, -0.04) == pytest.approx(-tango.score(9, 3, 80, 0.04))


@pytest.mark.parametrize("margin", [0.01, 0.03, 0.2])
@pytest.mark.parametrize("images", [9, 41, 90])
def test_the_score_grows_with_fixed_and_falls_with_broken_images(images, margin):
    for count in range(images):
        others = np.arange(images - count + 1)
        assert (np.diff(tango.score(count, others, images, -margin)) > -1e-9).all()
        assert (np.diff(tango.score(others, count, images, -margin)) < 1e-9).all()


@pytest.mark.parametrize(("images", "margin", "threshold"), [(30, 0.05, 1.645), (70, 0.03, 1.3), (60, 0.2, 0.5)])
def test_the_probability_of_a_region_equals_the_sum_over_all_tables(images, margin, threshold):
    rates = np.linspace(margin + 1e-6, (1 + margin) / 2 - 1e-6, 7)
    found = tango.rejection_probability(tango.smallest_fixed(images, margin, threshold), images, margin, rates)
    assert found == pytest.approx([_probability_by_enumeration(images, margin, threshold, rate) for rate in rates], abs=1e-10)


@pytest.mark.parametrize(
    ("broken", "fixed", "images", "margin"), [(2, 2, 100, 0.03), (0, 0, 59, 0.05), (10, 17, 120, 0.03), (6, 5, 300, 0.01)]
)
def test_the_exact_p_value_is_the_maximum_over_a_fine_grid(broken, fixed, images, margin):
    region = tango.smallest_fixed(images, margin, float(tango.score(broken, fixed, images, -margin)))
    rates = margin + (1 - margin) * np.sin(np.linspace(0, np.pi / 2, 3001)) ** 2 / 2
    finest = tango.rejection_probability(region, images, margin, rates).max()
    assert tango.exact_p(broken, fixed, images, margin) == pytest.approx(finest, rel=1e-4)


@pytest.mark.parametrize(("images", "passes"), [(58, False), (59, True)])
def test_without_discordant_images_the_exact_test_is_the_zero_failure_rule(images, passes):
    assert (tango.exact_p(0, 0, images, 0.05) <= 0.05) == passes
    assert tango.exact_p(0, 0, images, 0.05) == pytest.approx(0.95**images)


def test_no_images_are_no_evidence():
    assert tango.non_inferiority_p(0, 0, 0, 0.03)[0] == 1.0
    assert tango.interval(0, 0, 0, 0.9) == (-1.0, 1.0)


def test_small_sets_are_tested_exactly_and_large_ones_asymptotically():
    assert "exact" in tango.non_inferiority_p(3, 3, 500, 0.03)[1]
    p_value, name = tango.non_inferiority_p(60, 60, 6000, 0.03)
    assert "exact" not in name
    assert p_value == tango.asymptotic_p(60, 60, 6000, 0.03) < 1e-6


@pytest.mark.parametrize(("broken", "fixed", "images"), [(3, 9, 80), (0, 0, 50), (50, 0, 50), (0, 7, 20), (40, 45, 720)])
def test_the_interval_holds_exactly_the_differences_that_are_not_rejected(broken, fixed, images):
    low, high = tango.interval(broken, fixed, images, 0.9)
    assert low <= (fixed - broken) / images <= high
    for end, sign in ((low, 1), (high, -1)):
        if abs(end) < 1 - 1e-6:
            assert tango.score(broken, fixed, images, end) == pytest.approx(sign * 1.6448536, abs=1e-3)


def test_the_interval_agrees_with_the_asymptotic_test():
    low, _ = tango.interval(12, 10, 720, 0.9)
    assert tango.asymptotic_p(12, 10, 720, -low) == pytest.approx(0.05, abs=1e-6)
