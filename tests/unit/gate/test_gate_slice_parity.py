from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binom

from sightline.config.gate import GateConfig
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Check
from sightline.gate import bounds
from sightline.gate.evidence import Evidence
from sightline.gate.slice_parity import largest_gap, slice_parity_checks

POLICY = GateConfig(slice_parity=0.1)


def _evidence(shares: dict[str, float], num: int = 400, *, repeats: int = 1) -> Evidence:
    """``num`` images of each slice "attribute=value", which share of them is right; values of different attributes hold other images."""
    right = np.concatenate([np.arange(num) < share * num for share in shares.values()])
    answers = Answers(tuple(map(str, range(len(right)))), np.where(right, 0, 1), np.full(len(right), 0.9, np.float32))
    masks = {name: np.arange(len(right)) // num == index for index, name in enumerate(shares)}
    return Evidence(
        stage="trained",
        labels_N=np.zeros(len(right), np.int64),
        masks=masks,
        candidate=answers,
        champion=None,
        eager=None,
        same_model=False,
        clusters_N=np.arange(len(right)) // repeats if repeats > 1 else None,
    )


def _only(evidence: Evidence, policy: GateConfig = POLICY) -> Check:
    (check,) = slice_parity_checks(evidence, policy)
    assert (check.kind, check.metric, check.lower_is_better) == ("slice-parity", "accuracy gap", True)
    return check


def test_a_gap_that_is_shown_to_exceed_the_limit_fails():
    check = _only(_evidence({"site=A": 0.95, "site=B": 0.6, "site=C": 0.9}))
    assert (check.name, check.required, check.outcome, check.num_images) == ("parity over site", True, "fail", 1200)
    assert check.estimate == check.value == pytest.approx(0.35)
    assert 0.1 < check.interval[0] < 0.35 < check.interval[1]
    assert check.detail == "a gap of more than 10 points is shown; best A 95.0%, worst B 60.0%"


def test_a_gap_that_is_not_shown_passes_and_says_how_large_it_may_be():
    check = _only(_evidence({"site=A": 0.9, "site=B": 0.75}, 40))
    assert check.outcome == "pass"
    assert "not shown to exceed 10 points, may be up to" in check.detail
    assert check.interval[1] > 0.15


def test_without_a_limit_the_gap_is_shown_and_not_required():
    check = _only(_evidence({"site=A": 0.95, "site=B": 0.6}), GateConfig())
    assert (check.required, check.outcome) == (False, "info")
    assert check.interval[0] > 0.2


def test_classes_crosses_and_image_properties_are_no_attributes():
    names = ["class=dent", "class=crack", "image.size=small", "image.size=large", "a=x & b=y", "a=x & b=z"]
    assert slice_parity_checks(_evidence(dict.fromkeys(names, 0.5)), POLICY) == []


def test_a_value_with_few_images_does_not_count_and_one_value_has_no_gap():
    policy = GateConfig(slice_parity=0.1, min_slice_images=50)
    evidence = _evidence({"site=A": 0.9, "site=B": 0.9, "site=C": 0.9}, 60)
    few = evidence.masks["site=C"] & (np.arange(180) >= 170)  # ten wrong answers
    assert _only(replace(evidence, masks={**evidence.masks, "site=C": few}), policy).estimate == 0
    check = _only(replace(evidence, masks={"site=A": evidence.masks["site=A"], "site=C": few}), policy)
    assert (check.required, check.outcome) == (False, "info")
    assert check.detail == "1 of 2 values have 50 images, two are needed"


def test_attributes_share_the_level():
    one = _evidence({"site=A": 0.9, "site=B": 0.8})
    two = _evidence({"site=A": 0.9, "site=B": 0.8, "light=day": 0.9, "light=night": 0.9})
    assert [check.name for check in slice_parity_checks(two, POLICY)] == ["parity over light", "parity over site"]
    assert slice_parity_checks(two, POLICY)[1].interval[0] < _only(one).interval[0]


def test_images_of_one_cluster_count_as_fewer():
    wide = _only(_evidence({"site=A": 0.9, "site=B": 0.7}, repeats=20))
    narrow = _only(_evidence({"site=A": 0.9, "site=B": 0.7}))
    assert wide.estimate == narrow.estimate
    assert wide.interval[0] < narrow.interval[0]
    assert wide.interval[1] > narrow.interval[1]


def test_the_bounds_are_square_and_add_of_exact_bounds():
    gap = largest_gap({"A": np.arange(50) < 45, "B": np.arange(80) < 40}, 0.1)
    low, high = beta.ppf(0.05, 45, 6), beta.ppf(0.95, 41, 40)
    assert gap.low == pytest.approx(0.4 - np.hypot(0.9 - low, high - 0.5))
    assert (gap.best, gap.worst, gap.size) == ("A", "B", pytest.approx(0.4))
    equal = largest_gap({"A": np.ones(30, bool), "B": np.ones(30, bool)}, 0.1)
    assert (equal.size, equal.low) == (0, 0)
    assert equal.high == pytest.approx(1 - bounds.lower_bound(30, 30, 0.05))


@pytest.mark.parametrize(("sizes", "rate"), [((20, 200), 0.95), ((30, 30), 0.9), ((20, 60), 0.5)])
def test_a_shown_gap_is_false_no_more_often_than_stated_for_two_values(sizes, rate):
    """Exact enumeration of all outcomes of two equally good values, at the corrected level of five values."""
    alpha, shown = 0.005, 0.0
    chances = [binom.pmf(np.arange(size + 1), size, rate) for size in sizes]
    for a, b in np.argwhere(np.outer(*chances) > 1e-7):
        gap = largest_gap({"A": np.arange(sizes[0]) < a, "B": np.arange(sizes[1]) < b}, alpha)
        shown += chances[0][a] * chances[1][b] * (gap.low > 0)
    assert shown <= alpha


def test_the_best_and_worst_of_many_equal_values_are_not_taken_for_a_gap():
    rng, worlds, shown, naive = np.random.default_rng(0), 200, 0, 0
    for _ in range(worlds):
        groups = {str(index): rng.random(100) < 0.8 for index in range(8)}
        gap = largest_gap(groups, 0.05)
        shown += gap.low > 0
        # Negative control: the observed extremes compared as if they had been named in advance.
        naive += largest_gap({name: groups[name] for name in (gap.best, gap.worst)}, 0.1).low > 0
    assert shown / worlds <= 0.05
    assert naive / worlds > 0.15
