import itertools

import numpy as np
import pytest
from scipy import stats

from sightline.gate import mcnemar, signflip
from sightline.gate.signflip import sign_flip

EVERYTHING = {"all": np.ones(40, dtype=bool)}


def overlapping(num_images, num_slices, seed=0):
    rng = np.random.default_rng(seed)
    return {f"slice={index}": rng.uniform(size=num_images) < 0.4 for index in range(num_slices)}


def brute_force(differences, masks, clusters):
    """Every assignment of signs, and the step-down rule in words."""
    names = np.unique(clusters)
    sums = np.array([[differences[mask & (clusters == name)].sum() for mask in masks.values()] for name in names])
    sums = sums / np.sqrt((sums**2).sum(axis=0))
    observed = -sums.sum(axis=0)
    flips = np.array([np.array(signs) @ sums for signs in itertools.product((-1, 1), repeat=len(names))])
    raw = (flips >= observed - 1e-9).mean(axis=0)
    adjusted, left, smallest = {}, list(range(len(masks))), 0.0
    while left:
        best = max(left, key=lambda index: observed[index])
        smallest = max(smallest, (flips[:, left].max(axis=1) >= observed[best] - 1e-9).mean())
        adjusted[best] = smallest
        left.remove(best)
    return raw, np.array([adjusted[index] for index in range(len(masks))])


@pytest.mark.parametrize("seed", range(3))
def test_p_values_agree_with_all_flips(seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(-0.15, 0.3, 24).round(2)
    clusters = np.repeat(np.arange(12) * 7, 2)
    masks = overlapping(24, 5, seed)
    raw, adjusted = brute_force(differences, masks, clusters)
    found = sign_flip(differences, masks, clusters, num_flips=20_000, seed=1).values()
    assert [flips.p_value for flips in found] == pytest.approx(raw, abs=0.012)
    assert [flips.adjusted_p for flips in found] == pytest.approx(adjusted, abs=0.012)


def test_one_slice_agrees_with_scipys_permutation_test():
    differences = np.random.default_rng(5).normal(-0.1, 0.3, 40)
    theirs = stats.permutation_test(
        (differences, np.zeros(40)), lambda x, y: (x - y).mean(), permutation_type="samples", alternative="less", n_resamples=20_000, rng=1
    )
    ours = sign_flip(differences, EVERYTHING, None, num_flips=20_000, seed=2)["all"]
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.01)
    assert ours.adjusted_p == ours.p_value


def test_right_and_wrong_answers_give_the_exact_mcnemar_test():
    differences = np.zeros(40)
    differences[:9], differences[9:12] = -1, 1
    ours = sign_flip(differences, EVERYTHING, None, num_flips=20_000, seed=2)["all"]
    assert ours.p_value == pytest.approx(mcnemar.exact_p(9, 3), abs=0.006)


def test_an_adjusted_p_value_is_between_the_raw_one_and_bonferronis():
    differences = np.random.default_rng(8).normal(-0.05, 0.3, 200)
    for flips in sign_flip(differences, overlapping(200, 12), None, num_flips=2000, seed=3).values():
        assert flips.p_value <= flips.adjusted_p <= min(1.0, 12 * flips.p_value + 0.02)


def test_a_slice_that_occurs_twice_costs_nothing():
    differences = np.random.default_rng(8).normal(-0.1, 0.3, 40)
    twice = EVERYTHING | {"again": np.ones(40, dtype=bool)}
    once, both = (sign_flip(differences, masks, None, num_flips=999, seed=4) for masks in (EVERYTHING, twice))
    assert both["again"].adjusted_p == both["all"].adjusted_p == once["all"].adjusted_p


def test_a_cluster_is_swapped_as_one():
    differences, clusters = np.full(40, -0.5), np.arange(40) // 10
    alone = sign_flip(differences, EVERYTHING, None, num_flips=4999, seed=5)["all"]
    grouped = sign_flip(differences, EVERYTHING, clusters, num_flips=4999, seed=5)["all"]
    assert alone.p_value == pytest.approx(1 / 5000)
    assert grouped.p_value == pytest.approx(0.5**4, abs=0.01)


def test_an_improvement_is_no_regression():
    assert sign_flip(np.full(40, 0.2), EVERYTHING, None, num_flips=999, seed=5)["all"].p_value == 1.0


def test_slices_without_a_difference_are_not_evidence():
    masks = {"none": np.zeros(40, dtype=bool), "equal": np.arange(40) < 10, "worse": np.arange(40) >= 10}
    found = sign_flip(np.where(np.arange(40) < 10, 0.0, -1.0), masks, None, num_flips=999, seed=6)
    assert list(found) == ["none", "equal", "worse"]
    assert found["none"].adjusted_p == found["equal"].adjusted_p == 1.0
    assert found["worse"].adjusted_p == pytest.approx(1 / 1000)
    assert sign_flip(np.zeros(40), EVERYTHING, None, num_flips=99, seed=6)["all"].p_value == 1.0


def test_no_slices_and_no_images_are_fine():
    assert sign_flip(np.zeros(0), {}, None, num_flips=9, seed=0) == {}
    assert sign_flip(np.zeros(0), {"a": np.zeros(0, dtype=bool)}, None, num_flips=9, seed=0)["a"].adjusted_p == 1.0


def test_the_answer_does_not_depend_on_the_size_of_a_block(monkeypatch):
    differences, masks = np.random.default_rng(8).normal(-0.02, 0.3, 203), overlapping(203, 6)
    before = sign_flip(differences, masks, None, num_flips=500, seed=7)
    monkeypatch.setattr(signflip, "_BLOCK_BYTES", 10_000)
    assert sign_flip(differences, masks, None, num_flips=500, seed=7) == before
