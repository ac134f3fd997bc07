import numpy as np
import pytest

from sightline.gate import mcnemar, power, tango


def _trinomial(images: int, broken_rate: float, fixed_rate: float):
    """Every outcome with its probability."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, images + 1)))])
    for broken in range(images + 1):
        for fixed in range(images - broken + 1):
            rest = images - broken - fixed
            log = log_factorial[images] - log_factorial[broken] - log_factorial[fixed] - log_factorial[rest]
            log += broken * np.log(broken_rate) + fixed * np.log(fixed_rate) + rest * np.log(1 - broken_rate - fixed_rate)
            yield broken, fixed, float(np.exp(log))


@pytest.mark.parametrize(("images", "margin", "alpha"), [(20, 0.2, 0.05), (60, 0.05, 0.05), (45, 0.1, 0.03), (80, 0.03, 0.2)])
def test_the_region_holds_exactly_the_outcomes_that_the_gates_test_passes(images, margin, alpha):
    region = power.promotion_region(images, margin, alpha)
    for broken in range(0, images + 1, 3):
        for fixed in range(0, images - broken + 1, 2):
            passes = tango.non_inferiority_p(broken, fixed, images, margin)[0] <= alpha
            assert passes == (fixed >= region.fixed_from[broken]), (broken, fixed)
    assert region.size <= alpha


@pytest.mark.parametrize(
    ("images", "margin", "alpha", "smallest"), [(100, 0.05, 0.05, 0.045), (500, 0.03, 0.0304, 0.029), (1500, 0.02, 0.005, 0.0048)]
)
def test_the_size_is_close_to_alpha_and_never_above(images, margin, alpha, smallest):
    assert smallest < power.promotion_region(images, margin, alpha).size <= alpha


def test_too_few_images_for_the_zero_failure_rule_pass_only_by_repairing():
    assert power.promotion_region(58, 0.05, 0.05).fixed_from[0] > 0
    assert power.promotion_region(59, 0.05, 0.05).fixed_from[0] == 0


def test_above_the_exact_limit_the_normal_score_is_used_as_in_the_gate(monkeypatch):
    monkeypatch.setattr(tango, "EXACT_MAX_IMAGES", 90)
    power.promotion_region.cache_clear()
    region = power.promotion_region(91, 0.05, 0.05)
    assert (region.fixed_from == tango.smallest_fixed(91, 0.05, 1.6448536)).all()
    assert 0.03 < region.size < 0.061
    power.promotion_region.cache_clear()


@pytest.mark.parametrize(("churn", "loss"), [(0.1, 0.0), (0.2, 0.1), (0.1, -0.08)])
def test_the_power_equals_the_sum_over_all_outcomes(churn, loss):
    images, margin = 40, 0.12
    expected = sum(
        mass
        for broken, fixed, mass in _trinomial(images, churn / 2 + max(loss, 0), churn / 2 + max(-loss, 0))
        if tango.asymptotic_p(broken, fixed, images, margin) < 0.3 and tango.exact_p(broken, fixed, images, margin) <= 0.05
    )
    assert power.pass_probability(images, margin, 0.05, churn, loss) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("threshold", "churn", "loss"), [(0.05, 0.1, 0.0), (0.01, 0.06, 0.2), (0.3, 0.4, 0.05)])
def test_the_detection_power_equals_the_sum_over_all_outcomes(threshold, churn, loss):
    expected = sum(mass for broken, fixed, mass in _trinomial(30, churn / 2 + loss, churn / 2) if mcnemar.mid_p(broken, fixed) <= threshold)
    assert power.detection_probability(30, threshold, churn, loss) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("threshold", [0.05, 0.002, 1e-7])
def test_the_fewest_broken_images_of_an_alarm_are_those_of_the_mid_p_value(threshold):
    for discordant, needed in enumerate(power.broken_from(np.arange(60), threshold)):
        found = (broken for broken in range(1, discordant + 1) if mcnemar.mid_p(broken, discordant - broken) <= threshold)
        assert needed == next(found, discordant + 1)


@pytest.mark.parametrize(("margin", "churn", "published"), [(0.05, 0.02, 87), (0.05, 0.05, 158), (0.03, 0.1, 711), (0.02, 0.05, 828)])
def test_the_images_that_are_needed_are_those_of_the_design(margin, churn, published):
    needed = power.images_needed(margin, 0.05, churn)
    # The design has the plain score test, the gate the exact one, which asks for a little more.
    assert published * 0.98 <= needed <= published * 1.08
    assert power.pass_probability(needed, margin, 0.05, churn) >= 0.8
    assert power.pass_probability(round(needed * 0.85), margin, 0.05, churn) < 0.8


@pytest.mark.parametrize("images", [30, 60, 240, 800])
def test_the_smallest_margin_is_the_first_with_enough_power(images):
    margin = power.smallest_margin(images, 0.05, 0.05)
    assert power.pass_probability(images, margin, 0.05, 0.05) >= 0.8
    assert power.pass_probability(images, margin * 0.85, 0.05, 0.05) < 0.8


def test_few_images_support_no_margin():
    assert power.smallest_margin(0, 0.05, 0.05) is None
    assert power.smallest_margin(3, 0.05, 0.05) is None


def test_the_smallest_visible_drop_and_the_images_to_see_it_belong_together():
    drop = power.smallest_visible_drop(150, 0.01, 0.04)
    assert power.detection_probability(150, 0.01, 0.04, drop) >= 0.8 > power.detection_probability(150, 0.01, 0.04, drop - 0.002)
    assert power.images_to_see(drop, 0.01, 0.04) == pytest.approx(150, rel=0.05)


def test_nothing_is_seen_in_nothing():
    assert power.pass_probability(0, 0.03, 0.05, 0.05) == 0.0
    assert power.detection_probability(0, 0.05, 0.05, 0.1) == 0.0
    assert power.smallest_visible_drop(2, 0.05, 0.05) is None
