"""The gate's statistics against other libraries and against brute force."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from sightline.gate import bounds, mcnemar, multiplicity, power, tango
from tests.stats.size import FULL

PAIRS = [(0, 0), (1, 0), (0, 3), (4, 4), (12, 3), (3, 12), (40, 25), (150, 171)]
if FULL:
    PAIRS = list(itertools.product(range(0, 60, 3), range(0, 60, 4)))
TABLES = [(0, 0, 30), (3, 5, 40), (0, 6, 50), (9, 0, 60), (21, 20, 300), (60, 90, 500)]
if FULL:
    TABLES = [(b, f, n) for n in (20, 100, 500, 3000) for b in (0, 1, 5, 12) for f in (0, 1, 4, 8)]
FAMILIES = 3000 if FULL else 100


@pytest.mark.parametrize(("broken", "fixed"), PAIRS)
def test_mcnemar_agrees_with_statsmodels_and_with_the_binomial(broken, fixed):
    total = broken + fixed
    exact = mcnemar.exact_p(broken, fixed)
    other = mcnemar.exact_p(fixed, broken)
    if total:
        both = statsmodels_mcnemar([[10, broken], [fixed, 10]], exact=True).pvalue
        assert min(1.0, 2 * min(exact, other)) == pytest.approx(both, rel=1e-9)
        binomial = stats.binom(total, 0.5)
        assert mcnemar.mid_p(broken, fixed) == pytest.approx(binomial.sf(broken) + binomial.pmf(broken) / 2, rel=1e-9)
    else:
        assert exact == other == mcnemar.mid_p(0, 0) == 1.0


@pytest.mark.parametrize(("hits", "images"), [(0, 10), (10, 10), (7, 20), (512, 600), (1, 3000)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_bounds_of_a_share_are_those_of_statsmodels(hits, images, alpha):
    low, high = proportion_confint(hits, images, alpha=2 * alpha, method="beta")
    assert bounds.lower_bound(hits, images, alpha) == pytest.approx(low, abs=1e-9)
    assert bounds.upper_bound(hits, images, alpha) == pytest.approx(high, abs=1e-9)


def _score(broken: int, fixed: int, images: int, difference: float) -> float:
    """The score test of a paired difference from its likelihood alone: the constrained rates are found by a root search."""

    def slope(rate: float) -> float:
        rest = images - broken - fixed
        return broken / rate + fixed / (rate + difference) - 2 * rest / (1 - 2 * rate - difference)

    low, high = max(0.0, -difference), (1 - difference) / 2
    width = high - low
    ends = low + 1e-12 * width, high - 1e-12 * width
    if slope(ends[0]) <= 0:
        rate = ends[0]
    elif slope(ends[1]) >= 0:
        rate = ends[1]
    else:
        rate = optimize.brentq(slope, *ends, xtol=1e-15)
    return float((fixed - broken - images * difference) / np.sqrt(images * (2 * rate + difference - difference**2)))


@pytest.mark.parametrize(("broken", "fixed", "images"), TABLES)
def test_the_score_interval_is_the_inverted_score_test(broken, fixed, images):
    z = float(stats.norm.ppf(0.95))
    estimate = (fixed - broken) / images
    low = optimize.brentq(lambda d: _score(broken, fixed, images, d) - z, -0.999, estimate - 1e-9, xtol=1e-10)
    high = optimize.brentq(lambda d: _score(broken, fixed, images, d) + z, estimate + 1e-9, 0.999, xtol=1e-10)
    assert tango.interval(broken, fixed, images, 0.9) == pytest.approx((low, high), abs=1e-6)


def test_holm_and_benjamini_hochberg_reject_what_statsmodels_rejects(monkeypatch):
    # statsmodels collects garbage in each call: 0.1 s where torch is loaded, 10 minutes in the full form.
    monkeypatch.setattr("gc.collect", lambda *_: 0)
    rng = np.random.default_rng(5)
    for _ in range(FAMILIES):
        p_values = rng.random(int(rng.integers(1, 40))) ** rng.integers(1, 8)
        for found, method in ((multiplicity.holm(p_values, 0.05), "holm"), (multiplicity.benjamini_hochberg(p_values, 0.1), "fdr_bh")):
            expected = multipletests(p_values, 0.05 if method == "holm" else 0.1, method)[0]
            assert (found.rejected == expected).all()


def test_tarone_holm_rejects_what_its_definition_rejects():
    rng = np.random.default_rng(6)
    for _ in range(FAMILIES):
        counts = rng.integers(0, 14, (int(rng.integers(1, 30)), 2))
        p_values = [mcnemar.mid_p(int(b), int(f)) for b, f in counts]
        smallest = [mcnemar.smallest_mid_p(int(b + f)) for b, f in counts]
        rejected: set[int] = set()
        while True:
            left = [i for i in range(len(p_values)) if i not in rejected]
            divisor = next(k for k in itertools.count(1) if sum(smallest[i] <= 0.05 / k for i in left) <= k)
            new = {i for i in left if p_values[i] <= 0.05 / divisor}
            if not new:
                break
            rejected |= new
        assert set(np.flatnonzero(multiplicity.tarone_holm(p_values, smallest, 0.05).rejected)) == rejected


@pytest.mark.parametrize(("churn", "loss"), [(0.08, 0.0), (0.08, 0.06), (0.3, 0.1)])
@pytest.mark.parametrize("images", [25, 60, 110] if FULL else [60])
def test_the_planned_power_is_the_sum_over_all_outcomes(images, churn, loss):
    broken, fixed = (grid.ravel() for grid in np.indices((images + 1, images + 1)))
    keep = broken + fixed <= images
    broken, fixed = broken[keep], fixed[keep]
    outcomes = np.stack([broken, fixed, images - broken - fixed], axis=1)
    mass = stats.multinomial(images, [churn / 2 + loss, churn / 2, 1 - churn - loss]).pmf(outcomes)
    passes = fixed >= power.promotion_region(images, 0.08, 0.05).fixed_from[broken]
    assert power.pass_probability(images, 0.08, 0.05, churn, loss) == pytest.approx(mass[passes].sum(), abs=1e-9)
    shown = np.array([mcnemar.mid_p(int(b), int(f)) <= 0.01 for b, f in zip(broken, fixed, strict=True)])
    assert power.detection_probability(images, 0.01, churn, loss) == pytest.approx(mass[shown].sum(), abs=1e-9)


def test_negative_control_a_score_with_the_unconstrained_variance_is_told_apart():
    broken, fixed, images = 3, 5, 40
    wald = (fixed - broken + images * 0.05) / np.sqrt(broken + fixed - (fixed - broken) ** 2 / images)
    assert abs(wald - _score(broken, fixed, images, -0.05)) > 0.05
    assert tango.score(broken, fixed, images, -0.05) == pytest.approx(_score(broken, fixed, images, -0.05), abs=1e-6)
