"""The gate's error rates by exact enumeration, and that the enumeration catches a test that breaks them."""

import numpy as np
import pytest

from sightline.gate import bounds, power, tango
from sightline.registry.golden import ledger_alpha
from tests.stats.rules import wald_region
from tests.stats.size import FULL

ALPHA, Z = 0.05, 1.6448536
GRID = [(100, 0.03), (100, 0.05), (200, 0.01), (200, 0.03), (400, 0.03), (500, 0.02)]
if FULL:
    GRID = [(images, margin) for images in (60, 100, 150, 200, 300, 400, 500, 1000, 2000) for margin in (0.01, 0.02, 0.03, 0.05, 0.1)]
# Below this many images the zero-failure rule does not hold, and next to nothing is promoted: there is no size to speak of.
FILLED = [(images, margin) for images, margin in GRID if (1 - margin) ** images <= ALPHA]


class SizeExceededError(Exception):
    """A test rejects a true null hypothesis more often than it says."""


def rates_at(margin: float, num: int = 1500) -> np.ndarray:
    return margin + (1 - margin) * np.sin(np.linspace(0, np.pi / 2, num)) ** 2 / 2


def require_size(fixed_from: np.ndarray, images: int, margin: float, limit: float) -> float:
    """The largest probability of promotion when the model is worse by the margin; refuses a region that exceeds ``limit``."""
    size = float(tango.rejection_probability(fixed_from, images, margin, rates_at(margin)).max())
    if size > limit:
        raise SizeExceededError(f"promotes with probability {size:.3f}, at most {limit:.3f} is claimed")
    return size


@pytest.mark.parametrize(("images", "margin"), GRID)
def test_the_plain_score_test_stays_within_six_percent(images, margin):
    assert require_size(tango.smallest_fixed(images, margin, Z), images, margin, 0.0605) > (0.03 if (images, margin) in FILLED else 0)


@pytest.mark.parametrize(("images", "margin"), GRID)
def test_the_exact_test_never_exceeds_five_percent(images, margin):
    region = power.promotion_region(images, margin, ALPHA)
    size = require_size(region.fixed_from, images, margin, ALPHA + 1e-4)
    assert size == pytest.approx(region.size, abs=2e-4)
    assert size > (0.035 if (images, margin) in FILLED else 0)


@pytest.mark.parametrize("attempt", [1, 2, 7] if FULL else [2])
def test_a_look_of_the_ledger_never_spends_more_than_its_share(attempt):
    alpha = ledger_alpha(ALPHA, attempt)
    require_size(power.promotion_region(600, 0.03, alpha).fixed_from, 600, 0.03, alpha * 1.001)


def test_all_looks_of_the_ledger_together_spend_alpha():
    assert sum(ledger_alpha(ALPHA, attempt) for attempt in range(1, 200_000)) == pytest.approx(ALPHA, rel=1e-4)


@pytest.mark.parametrize("loss", [0.03, 0.035, 0.05, 0.1])
def test_a_larger_loss_is_promoted_less_often(loss):
    region = tango.smallest_fixed(200, 0.03, Z)
    assert tango.rejection_probability(region, 200, loss, rates_at(loss)).max() <= 0.0605


@pytest.mark.parametrize(("images", "margin"), [(100, 0.03), (100, 0.05), (200, 0.03)])
def test_negative_control_a_wald_gate_is_caught(images, margin):
    with pytest.raises(SizeExceededError):
        require_size(wald_region(images, margin), images, margin, 0.0605)


def test_a_wald_gate_promotes_a_model_at_the_margin_up_to_one_time_in_five():
    size = tango.rejection_probability(wald_region(100, 0.03), 100, 0.03, rates_at(0.03)).max()
    assert size == pytest.approx(0.195, abs=0.005)


@pytest.mark.parametrize(("images", "promoted"), [(400, 0.819), (800, 0.978), (1600, 1.0)])
def test_an_equal_model_passes_one_critical_slice_as_often_as_published(images, promoted):
    region = tango.smallest_fixed(images, 0.03, Z)
    assert tango.rejection_probability(region, images, 0.0, np.array([0.025]))[0] == pytest.approx(promoted, abs=0.006)


@pytest.mark.parametrize(
    ("margin", "discordance", "images"),
    [(0.05, 0.02, 87), (0.05, 0.05, 158), (0.05, 0.1, 264), (0.03, 0.02, 207), (0.03, 0.05, 380), (0.03, 0.1, 711), (0.02, 0.05, 828)],
)
def test_the_published_numbers_of_images_give_eighty_percent_power(margin, discordance, images):
    def power(number: int) -> float:
        region = tango.smallest_fixed(number, margin, Z)
        return float(tango.rejection_probability(region, number, 0.0, np.array([discordance / 2]))[0])

    # Power is a saw-tooth in the number of images; the published number is a place where it has reached 80 %.
    assert power(images) == pytest.approx(0.81, abs=0.02)
    assert power(round(images * 0.8)) < 0.8


@pytest.mark.parametrize(
    ("share", "images"), [(0.05, (59, 93, 124)), (0.03, (99, 157, 208)), (0.02, (149, 236, 313)), (0.01, (299, 473, 628))]
)
def test_the_zero_failure_rule_has_its_published_numbers(share, images):
    assert tuple(bounds.images_for_zero_failures(share, ALPHA, failures) for failures in (0, 1, 2)) == images
