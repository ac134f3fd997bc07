import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from sightline.gate.multiplicity import benjamini_hochberg, holm, tarone_holm


@pytest.mark.parametrize("seed", range(5))
def test_holm_and_benjamini_hochberg_agree_with_statsmodels(seed):
    p_values = np.random.default_rng(seed).uniform(0, 1, 20) ** 3
    assert holm(p_values, 0.05).rejected.tolist() == multipletests(p_values, 0.05, method="holm")[0].tolist()
    assert benjamini_hochberg(p_values, 0.1).rejected.tolist() == multipletests(p_values, 0.1, method="fdr_bh")[0].tolist()


def test_no_hypotheses_no_rejections():
    for found in (holm([], 0.05), tarone_holm([], [], 0.05), benjamini_hochberg([], 0.1)):
        assert found.rejected.tolist() == []


def test_slices_that_cannot_be_significant_cost_nothing():
    p_values, smallest = [0.03] + [0.5] * 9, [0.001] + [0.25] * 9
    assert tarone_holm(p_values, smallest, 0.05).rejected.tolist() == [True] + [False] * 9
    assert not holm(p_values, 0.05).rejected.any()


def test_tarone_never_rejects_less_than_holm():
    rng = np.random.default_rng(3)
    for _ in range(200):
        p_values = rng.uniform(0, 1, 12) ** 4
        smallest = p_values * rng.uniform(0, 1, 12)
        assert (tarone_holm(p_values, smallest, 0.05).rejected >= holm(p_values, 0.05).rejected).all()


def test_a_rejection_frees_level_for_the_others():
    assert tarone_holm([0.001, 0.03], [0.0, 0.0], 0.05).rejected.all()
    assert not tarone_holm([0.03, 0.03], [0.0, 0.0], 0.05).rejected.any()
