import numpy as np
import pytest
from scipy import stats

from sightline.gate.clusters import PSEUDO_CLUSTERS, design_effect, effective
from sightline.gate.evidence import Pair


def answers(num_images, num_broken, num_fixed):
    """Reference and candidate: the first images broken, the last ones fixed."""
    old, new = np.ones(num_images, dtype=bool), np.ones(num_images, dtype=bool)
    new[:num_broken] = False
    old[num_images - num_fixed :] = False
    return old, new


@pytest.mark.parametrize("clusters", [None, np.random.default_rng(0).permutation(300) * 3 - 50])
def test_images_that_are_clusters_by_themselves_keep_exactly_their_counts(clusters):
    old, new = answers(300, 12, 5)
    found = effective(old, new, clusters)
    assert found.plain == found.promotion == Pair.count(old, new)
    assert (found.design_effect, found.num_clusters) == (1.0, 300)


def test_images_that_always_change_together_are_worth_one_image_per_cluster():
    old, new = answers(2000, 200, 100)
    found = effective(old, new, np.arange(2000) // 10)
    assert found.num_clusters == 200
    assert found.design_effect == pytest.approx(10 * (stats.t.ppf(0.95, 199) / stats.norm.ppf(0.95)) ** 2, rel=0.02)
    assert (found.promotion.num_images, found.promotion.num_broken, found.promotion.num_fixed) == (197, 20, 9)


def test_the_observed_part_of_the_design_effect_is_that_of_an_intercept_only_cluster_robust_regression():
    import statsmodels.api as sm

    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(300), rng.integers(2, 9, 300))
    differences = np.where(rng.uniform(size=300) < 0.3, rng.choice([-1.0, 1.0], 300), 0.0)[clusters]
    differences = np.where(rng.uniform(size=len(clusters)) < 0.4, 0.0, differences)
    model = sm.OLS(differences, np.ones(len(clusters)))
    robust = model.fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}).bse[0] ** 2 * 300 / 299
    observed = robust / (differences.var() / len(clusters))
    moved = len(np.unique(clusters[differences != 0]))
    largest = float((np.bincount(clusters) ** 2).sum()) / len(clusters)
    wanted = (moved * observed + PSEUDO_CLUSTERS * largest) / (moved + PSEUDO_CLUSTERS)
    assert design_effect(differences, clusters) == pytest.approx(wanted)


def test_without_any_difference_only_the_clusters_count():
    right = np.ones(1000, dtype=bool)
    found = effective(right, right, np.arange(1000) // 20)
    assert found.design_effect >= 20
    assert found.promotion.num_images <= 50
    assert found.promotion.num_broken == found.promotion.num_fixed == 0


def test_independent_images_in_clusters_cost_little_when_many_of_them_differ():
    rng = np.random.default_rng(2)
    old, new = rng.uniform(size=(2, 6000)) < 0.8
    assert 1.0 <= effective(old, new, np.arange(6000) // 6).design_effect < 1.25


def test_images_that_balance_each_other_within_a_cluster_gain_nothing():
    old = np.tile([True, False], 500)
    assert effective(old, ~old, np.arange(1000) // 2).design_effect >= 1.0


def test_fewer_clusters_or_a_smaller_level_are_more_conservative():
    old, new = answers(400, 40, 40)
    few, many = effective(old, new, np.arange(400) // 40), effective(old, new, np.arange(400) // 4)
    assert few.design_effect > many.design_effect
    assert effective(old, new, np.arange(400) // 40, alpha=0.001).design_effect > few.design_effect


def test_one_cluster_is_no_evidence():
    old, new = answers(100, 3, 0)
    found = effective(old, new, np.zeros(100, dtype=int))
    assert (found.num_clusters, found.promotion.num_images, found.p_worse()) == (1, 0, pytest.approx(0.5, abs=0.05))


def test_no_images_are_fine():
    none = np.zeros(0, dtype=bool)
    assert effective(none, none, np.zeros(0, dtype=int)).promotion.num_images == 0


@pytest.mark.parametrize("seed", range(40))
def test_rounding_goes_against_promotion(seed):
    rng = np.random.default_rng(seed)
    old, new = rng.uniform(size=(2, 150)) < rng.uniform(0, 1, (2, 1))
    found = effective(old, new, rng.integers(0, 20, 150))
    plain, effect = found.plain, found.design_effect
    assert found.promotion.num_images <= 150 / effect
    assert found.promotion.num_fixed <= plain.num_fixed / effect
    assert found.promotion.num_broken >= min(plain.num_broken / effect, found.promotion.num_images)
    pair = found.promotion
    assert 0 <= pair.num_broken <= pair.num_correct_old <= pair.num_images - pair.num_fixed
    assert pair.num_correct_new - pair.num_correct_old == pair.num_fixed - pair.num_broken


def test_a_regression_is_shown_by_whole_groups_however_large_they_are():
    # Twelve groups of twenty images that all broke, and none that was fixed: 1 in 4 096 by chance.
    old, new = answers(400, 240, 0)
    assert effective(old, new, np.arange(400) // 20).p_worse() < 0.003
    # As many broken images in one group are one event.
    assert effective(old, new, np.repeat([0, 1, 2], [240, 80, 80])).p_worse() == pytest.approx(0.5, abs=0.05)
