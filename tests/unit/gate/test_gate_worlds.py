import itertools

import numpy as np
import pytest

from sightline.gate import tango
from sightline.gate.clusters import effective
from sightline.gate.signflip import sign_flip
from sightline.gate.worlds import (
    Counts,
    Worlds,
    effective_counts,
    grown,
    nearly_passes,
    passes,
    smallest_margin,
    swap_p,
    swap_slices,
)

SIZES = np.array([1, 7, 20, 3, 12, 1, 9, 30])


def _one(worlds: Worlds, world: int, churn: float, loss: float):
    """Right answers of both models and the group of each image in one world."""
    draws, index = worlds.draws_WN[world], np.repeat(np.arange(len(worlds.sizes_K)), worlds.sizes_K)
    broken, fixed = draws < churn / 2 + loss, draws >= 1 - churn / 2
    return ~fixed, ~broken, index


@pytest.mark.parametrize(("churn", "loss", "together"), [(0.05, 0.0, 0.1), (0.3, 0.1, 1.0), (0.01, 0.0, 0.0), (0.4, 0.2, 0.5)])
@pytest.mark.parametrize("sizes", [SIZES, np.array([50]), np.ones(40, dtype=np.int64), np.full(30, 20)])
def test_the_counts_of_every_world_are_those_of_the_gate(sizes, churn, loss, together):
    worlds = Worlds.draw(sizes, together, 60, alpha=0.01)
    counts = worlds.counts(churn, loss)
    for world in range(len(worlds)):
        found = effective(*_one(worlds, world, churn, loss), alpha=0.01)
        promotion = counts.images_W[world], counts.broken_W[world], counts.fixed_W[world]
        assert promotion == (found.promotion.num_images, found.promotion.num_broken, found.promotion.num_fixed)
        assert counts.design_effect_W[world] == pytest.approx(found.design_effect, rel=1e-12)


@pytest.mark.parametrize("together", [0.0, 0.4])
def test_a_share_of_the_groups_changes_as_a_whole_and_the_churn_stays(together):
    worlds = Worlds.draw(np.full(50, 10), together, 400)
    as_one = (np.ptp(worlds.draws_WN.reshape(400, 50, 10), axis=2) == 0).mean()
    assert as_one == pytest.approx(together, abs=0.02)
    assert (worlds.draws_WN < 0.05).mean() == pytest.approx(0.05, abs=0.005)


def test_a_slice_holds_its_part_of_every_group():
    worlds = Worlds.draw(SIZES, 0.5, 3)
    mask = np.arange(SIZES.sum()) % 4 == 0
    part = worlds.part(mask)
    index = np.repeat(np.arange(len(SIZES)), SIZES)
    assert part.sizes_K.tolist() == np.unique(index[mask], return_counts=True)[1].tolist()
    assert (part.draws_WN == worlds.draws_WN[:, mask]).all()
    assert worlds.part(np.zeros_like(mask)).counts(0.1).images_W.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("margin", "alpha"), [(0.03, 0.05), (0.1, 0.005), (0.01, 0.03)])
def test_worlds_pass_where_the_gates_exact_test_passes(margin, alpha):
    counts = Worlds.draw(np.full(60, 8), 0.1, 150).counts(0.05)
    exact = [
        tango.non_inferiority_p(int(b), int(f), int(n), margin)[0] <= alpha
        for b, f, n in zip(counts.broken_W, counts.fixed_W, counts.images_W, strict=True)
    ]
    assert passes(counts, margin, alpha).tolist() == exact
    assert nearly_passes(counts, margin, alpha).mean() == pytest.approx(np.mean(exact), abs=0.1)


@pytest.mark.parametrize("lost", [[2, 2, 2], [3, 1, 1, 2, 5], [1, 1, 1, 1, 1, 1, -1], [4, 3, 2, 3, 2, 4, -1, 2, -1, 3, 2, 1], [-1, 2]])
def test_the_p_value_of_a_swap_is_the_exact_one_or_a_little_more(lost):
    lost = np.array(lost)
    signs = np.array(list(itertools.product([-1, 1], repeat=len(lost))))
    exact = (signs @ lost >= lost.sum()).mean()
    found = swap_p(effective_counts(np.maximum(lost, 0)[None], np.maximum(-lost, 0)[None], np.full(len(lost), 9)))[0]
    assert exact * 0.8 < found < exact * 3


SLICED = {f"s={i}": np.arange(800) // 20 % 8 == i for i in range(8)} | {
    "class=a": np.arange(800) % 2 == 0,
    "class=b": np.arange(800) % 2 == 1,
}


def _adjusted(worlds: Worlds, world: int, churn: float, loss_N) -> dict[str, float]:
    draws, index = worlds.draws_WN[world], np.repeat(np.arange(len(worlds.sizes_K)), worlds.sizes_K)
    differences = 1.0 * (draws >= 1 - churn / 2) - (draws < churn / 2 + loss_N)
    return {name: flips.adjusted_p for name, flips in sign_flip(differences, SLICED, index, num_flips=500, seed=1).items()}


def test_slices_of_equal_models_alarm_in_the_worlds_in_which_the_gates_swaps_do():
    worlds = Worlds.draw(np.full(40, 20), 0.3, 300)
    swaps = swap_slices(worlds, list(SLICED.values()), 0.1, 0.05)
    real = np.array([min(_adjusted(worlds, world, 0.1, 0.0).values()) <= 0.05 for world in range(300)])
    assert 0 < real.mean() < 0.09
    # At the edge of the level other random swaps decide otherwise.
    assert (swaps.alarmed_W == real).mean() > 0.98


@pytest.mark.parametrize(("name", "loss", "less"), [("s=3", 0.2, 0.4), ("s=3", 0.5, 0.4), ("class=a", 0.06, 0.1), ("class=b", 0.1, 0.1)])
def test_a_regression_is_seen_about_as_often_as_by_the_gates_swaps_and_no_more(name, loss, less):
    worlds, mask = Worlds.draw(np.full(40, 20), 0.1, 150), SLICED[name]
    swaps = swap_slices(worlds, list(SLICED.values()), 0.05, 0.05)
    planned = (swaps.adjusted_p(worlds.part(mask).counts(0.05, loss)) <= 0.05).mean()
    real = np.mean([_adjusted(worlds, world, 0.05, loss * mask)[name] <= 0.05 for world in range(150)])
    # With five groups (s=3) the smallest p-value is 1/32, and the little that the other slices add decides.
    assert real - less < planned < real + 0.05


def test_a_single_slice_needs_no_more_than_its_level():
    worlds = Worlds.draw(np.full(40, 20), 0.1, 50)
    assert swap_slices(worlds, [SLICED["class=a"]], 0.05, 0.05).raw_p(0.05) == pytest.approx(0.05, abs=0.001)
    assert swap_slices(worlds, list(SLICED.values()), 0.05, 0.05).raw_p(0.05) < 0.02
    assert not swap_slices(worlds, [], 0.05, 0.05).alarmed_W.any()


def test_the_smallest_margin_passes_and_the_one_below_does_not():
    counts = Worlds.draw(np.full(60, 8), 0.1, 200).counts(0.05)
    margin = smallest_margin(counts, 0.05)
    assert passes(counts, margin, 0.05).mean() >= 0.8 > passes(counts, margin - 0.003, 0.05).mean()


def test_nothing_passes_without_images():
    nothing = np.zeros(5, dtype=np.int64)
    counts = Counts(nothing, nothing, nothing, np.ones(5), np.zeros(5), nothing, nothing)
    assert not passes(counts, 0.4, 0.05).any()
    assert swap_p(counts).tolist() == [1.0] * 5
    assert smallest_margin(counts, 0.05) is None


@pytest.mark.parametrize(("images", "sizes"), [(5, [3, 2]), (8, [3, 4, 1]), (21, [3, 4, 5, 3, 4, 2]), (12, [3, 4, 5])])
def test_more_groups_are_like_those_that_there_are(images, sizes):
    assert grown(np.array([3, 4, 5]), images).tolist() == sizes
