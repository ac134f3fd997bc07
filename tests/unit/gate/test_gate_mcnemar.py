import pytest
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar as reference

from sightline.gate import mcnemar

TABLES = [(1, 0), (5, 2), (2, 5), (10, 10), (30, 12), (150, 90)]


@pytest.mark.parametrize(("broken", "fixed"), [table for table in TABLES if table[0] > table[1]])
def test_the_exact_p_value_is_half_of_the_two_sided_one_of_statsmodels(broken, fixed):
    two_sided = float(reference([[0, broken], [fixed, 0]], exact=True).pvalue)
    assert mcnemar.exact_p(broken, fixed) == pytest.approx(two_sided / 2, rel=1e-9)


@pytest.mark.parametrize(("broken", "fixed"), TABLES)
def test_the_mid_p_value_counts_half_of_the_observed_table(broken, fixed):
    total = broken + fixed
    expected = binom.sf(broken, total, 0.5) + 0.5 * binom.pmf(broken, total, 0.5)
    assert mcnemar.mid_p(broken, fixed) == pytest.approx(expected, rel=1e-9)


def test_without_discordant_images_there_is_no_evidence():
    assert mcnemar.mid_p(0, 0) == mcnemar.exact_p(0, 0) == mcnemar.smallest_mid_p(0) == 1.0


def test_the_smallest_value_is_reached_when_every_discordant_image_is_broken():
    assert mcnemar.smallest_mid_p(6) == pytest.approx(mcnemar.mid_p(6, 0), rel=1e-12)
    assert mcnemar.mid_p(6, 0) < mcnemar.mid_p(5, 1)


def test_many_discordant_images_do_not_overflow():
    assert 0.0 < mcnemar.mid_p(3000, 2800) < 0.01
