from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from sightline.config.gate import GateConfig
from sightline.evaluate.corruptions import describe
from sightline.evaluate.predict import Answers
from sightline.gate.evidence import Corrupted, Evidence
from sightline.gate.robustness import robustness_checks

NAME = describe("blur", 2)
POLICY = GateConfig(robustness=("blur",), robustness_margin=0.05)


def _corrupted(num: int = 400, *, broken: int = 0, fixed: int = 0, first: bool = False) -> Corrupted:
    """80 % right with the corruption, all right without it."""
    old = np.arange(num) < num * 0.8
    new = old.copy()
    new[:broken] = False
    new[num - fixed :] = True
    return Corrupted(NAME, np.ones(num, bool), new, None if first else old)


def _evidence(*parts: Corrupted, first: bool = False) -> Evidence:
    answers = Answers(("a",), np.zeros(1, np.int64), np.ones(1, np.float32))
    return Evidence(
        stage="trained",
        labels_N=np.zeros(1, np.int64),
        masks={},
        candidate=answers,
        champion=None if first else answers,
        eager=None,
        same_model=False,
        corrupted=parts,
    )


def test_an_equally_robust_candidate_passes_and_the_drop_is_told():
    (check,) = robustness_checks(_evidence(_corrupted(broken=4, fixed=4)), POLICY)
    assert (check.name, check.kind, check.required, check.outcome) == (NAME, "robustness", True, "pass")
    assert (check.num_images, check.num_broken, check.num_fixed, check.estimate) == (400, 4, 4, 0.0)
    assert check.detail == "a loss of 5 points is ruled out; candidate 100.0% on the clean images → 80.0%"


def test_a_less_robust_candidate_fails():
    (check,) = robustness_checks(_evidence(_corrupted(broken=40, fixed=2)), POLICY)
    assert check.outcome == "fail"
    assert "worse: 40 images broken, 2 fixed" in check.detail


def test_few_images_are_inconclusive():
    (check,) = robustness_checks(_evidence(_corrupted(30, broken=1, fixed=1)), POLICY)
    assert check.outcome == "inconclusive"
    assert check.labels_needed > 0


def test_without_a_margin_the_numbers_are_shown_and_not_required():
    (check,) = robustness_checks(_evidence(_corrupted(broken=40)), GateConfig(robustness=("blur",)))
    assert (check.required, check.outcome) == (False, "info")
    assert (check.reference, check.value, check.estimate) == pytest.approx((0.8, 0.7, -0.1))
    assert check.interval[0] < -0.1 < check.interval[1]
    assert check.detail.startswith("shown only, no margin is set; candidate 100.0%")


@pytest.mark.parametrize("policy", [POLICY, GateConfig()])
def test_a_first_model_gets_exact_intervals(policy):
    (check,) = robustness_checks(_evidence(_corrupted(first=True), first=True), policy)
    assert (check.required, check.outcome, check.reference, check.value) == (False, "info", None, 0.8)
    assert check.interval == pytest.approx(proportion_confint(320, 400, alpha=0.1, method="beta"))
    assert "no champion to compare with" in check.detail


def test_a_corruption_that_was_not_scored_blocks_when_it_is_required():
    policy = GateConfig(robustness=("blur", "noise"), robustness_margin=0.05)
    checks = robustness_checks(_evidence(_corrupted(broken=4, fixed=4)), policy)
    assert [(check.name, check.outcome, check.required) for check in checks] == [(NAME, "pass", True), ("noise", "inconclusive", True)]
    assert robustness_checks(_evidence(), GateConfig(robustness=("blur",))) == []
    assert robustness_checks(_evidence(), GateConfig(robustness_margin=0.05, robustness_images=0)) == []


def test_images_of_one_cluster_count_as_fewer():
    part = _corrupted(broken=8, fixed=4)
    clustered = replace(part, clusters_M=np.arange(400) // 20)
    assert robustness_checks(_evidence(part), POLICY)[0].outcome == "pass"
    (check,) = robustness_checks(_evidence(clustered), POLICY)
    assert (check.outcome, check.num_images, check.num_clusters) == ("inconclusive", 400, 20)
    shown = [robustness_checks(_evidence(found), GateConfig(robustness=("blur",)))[0] for found in (part, clustered)]
    assert shown[1].interval[0] < shown[0].interval[0]


def test_missing_champion_answers_and_no_images_are_inconclusive():
    evidence = _evidence(_corrupted(first=True), _corrupted(0))
    assert [check.outcome for check in robustness_checks(evidence, POLICY)] == ["inconclusive", "inconclusive"]
    assert [check.outcome for check in robustness_checks(evidence, GateConfig())] == ["info", "info"]


def test_the_champion_itself_passes_with_few_images():
    (check,) = robustness_checks(replace(_evidence(_corrupted(10)), same_model=True), POLICY)
    assert (check.outcome, check.labels_needed) == ("pass", None)


def test_the_level_of_this_look_counts():
    evidence = _evidence(_corrupted(broken=8, fixed=4))
    assert robustness_checks(evidence, POLICY)[0].outcome == "pass"
    assert robustness_checks(replace(evidence, alpha=1e-6), POLICY)[0].outcome == "inconclusive"
