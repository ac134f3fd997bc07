import pytest
from scipy.stats import binomtest

from sightline.gate import bounds


@pytest.mark.parametrize(("hits", "images"), [(0, 10), (10, 10), (7, 10), (650, 720), (1, 1)])
def test_the_bounds_are_clopper_pearson(hits, images):
    expected = binomtest(hits, images).proportion_ci(0.9, method="exact")
    assert bounds.lower_bound(hits, images, 0.05) == pytest.approx(expected.low, abs=1e-9)
    assert bounds.upper_bound(hits, images, 0.05) == pytest.approx(expected.high, abs=1e-9)


@pytest.mark.parametrize(("hits", "images", "share"), [(0, 10, 0.3), (10, 10, 0.3), (4, 20, 0.3), (12, 20, 0.3), (5, 9, 1.0)])
def test_the_p_values_are_the_exact_binomial_ones(hits, images, share):
    assert bounds.below_p(hits, images, share) == pytest.approx(binomtest(hits, images, share, alternative="less").pvalue, abs=1e-9)
    assert bounds.above_p(hits, images, share) == pytest.approx(binomtest(hits, images, share, alternative="greater").pvalue, abs=1e-9)


def test_without_images_nothing_is_bounded_and_nothing_is_shown():
    assert (bounds.lower_bound(0, 0, 0.05), bounds.upper_bound(0, 0, 0.05)) == (0.0, 1.0)
    assert bounds.below_p(0, 0, 0.3) == bounds.above_p(0, 0, 0.3) == 1.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_limits_at_the_ends_of_the_range_are_never_shown_to_be_missed_by_a_perfect_model(share):
    assert bounds.below_p(20, 20, share) == 1.0


def test_more_images_are_needed_for_smaller_margins_and_more_churn():
    needed = bounds.images_for_difference(0.03, 0.05, 0.05)
    assert needed == 344  # (1.6449 + 0.8416)² · 0.05 / 0.03²
    assert bounds.images_for_difference(0.03, 0.1, 0.05) > needed > bounds.images_for_difference(0.05, 0.05, 0.05)


def test_models_that_never_differ_still_need_the_zero_failure_rule():
    assert bounds.images_for_difference(0.03, 0.0, 0.05) == 99


def test_images_for_a_share_need_a_share_above_the_limit():
    assert bounds.images_for_share(0.5, 0.6, 0.05) is None
    total = bounds.images_for_share(0.7, 0.6, 0.05)
    assert total is not None
    assert 120 < total < 180
