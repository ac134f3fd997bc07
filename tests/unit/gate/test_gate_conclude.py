"""From checks to the verdict: what a look may spend, whose overrides count, and what the verdict says of them."""

import time
from dataclasses import replace

import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import KIND, Case, Check, Confusion, Flips, Override, overall_outcome, read_verified, write_verdict
from sightline.gate.conclude import Budget, Findings, Subject, Terms, conclude, spend, valid_overrides
from sightline.registry.overrides import record_override
from sightline.store.artifact import commit_artifact

POLICY = GateConfig()
SUBJECT = Subject(
    task="classification",
    metric="accuracy",
    stage="trained",
    candidate="a" * 64,
    variant="eager",
    champion="b" * 64,
    generation=4,
    golden_digest="c" * 64,
    images=("1.png", "2.png", "3.png"),
)
FIRST = replace(SUBJECT, champion="none", generation=0)
FAILS = Check(
    name="site=B", kind="slice", slice="site=B", required=True, outcome="fail", reference=0.9, value=0.6, estimate=-0.3, num_images=80
)
PASSES = Check(name="overall", kind="overall", required=True, outcome="pass", reference=0.9, value=0.9, estimate=0.0, num_images=400)
BROKEN = Check(name="valid answers", kind="answers", required=True, outcome="fail")


def override(**changes) -> Override:
    now = time.time()
    fields = {
        "candidate": SUBJECT.candidate,
        "champion": SUBJECT.champion,
        "golden_digest": SUBJECT.golden_digest,
        "checks": ("site=B",),
        "who": "Ada",
        "why": "site B is closed",
        "made_at": now - 60,
        "until": now + 3600,
        "verdict": "d" * 64,
    }
    return Override(**fields | changes)


def concluded(*checks: Check, overrides: tuple[Override, ...] = (), subject: Subject = SUBJECT):
    return conclude(subject, checks, Findings(Flips(num_broken=24)), Terms(POLICY, Budget(2, 2, 0.01), overrides))


# What a look may spend


def test_without_a_registry_a_look_is_the_first():
    assert spend(SUBJECT, POLICY, "") == Budget(1, 1, pytest.approx(0.05 * 6 / np.pi**2))
    assert spend(SUBJECT, GateConfig(alpha_spending="fixed"), "").alpha == 0.05


def test_each_candidate_spends_less_and_the_same_question_nothing(tmp_path):
    registry = str(tmp_path)
    subjects = [replace(SUBJECT, candidate=digit * 64) for digit in "1232"]
    budgets = [spend(subject, POLICY, registry) for subject in subjects]
    assert [(budget.looks, budget.attempt) for budget in budgets] == [(1, 1), (2, 2), (3, 3), (3, 2)]
    assert [budget.alpha for budget in budgets] == pytest.approx([0.3 / (np.pi * attempt) ** 2 for attempt in (1, 2, 3, 2)])
    assert spend(subjects[2], GateConfig(alpha_spending="fixed"), registry).alpha == 0.05


def test_all_looks_together_spend_at_most_alpha(tmp_path):
    spent = sum(spend(replace(SUBJECT, candidate=f"{number:064d}"), POLICY, str(tmp_path)).alpha for number in range(12))
    assert 0.045 < spent < 0.05


def test_a_new_champion_is_a_new_question(tmp_path):
    spend(SUBJECT, POLICY, str(tmp_path))
    assert spend(replace(SUBJECT, champion="e" * 64), POLICY, str(tmp_path)).attempt == 2


@pytest.mark.parametrize("with_registry", [True, False])
def test_a_first_model_is_counted_and_spends_nothing(tmp_path, with_registry):
    registry = str(tmp_path) if with_registry else ""
    assert spend(FIRST, POLICY, registry) == Budget(1, 1, 0.05)
    assert spend(replace(FIRST, candidate="f" * 64), POLICY, registry).alpha == 0.05
    assert spend(SUBJECT, POLICY, registry).attempt == 1


# Whose overrides count


def test_only_overrides_of_this_candidate_champion_and_golden_set_that_hold_now_count(tmp_path):
    registry = str(tmp_path)
    mine = record_override(registry, override())
    for other in ({"candidate": "9" * 64}, {"champion": "9" * 64}, {"champion": "none"}, {"golden_digest": "9" * 64}):
        record_override(registry, override(**other))
    record_override(registry, override(made_at=time.time() + 600))
    assert valid_overrides(SUBJECT, registry) == (mine,)
    assert valid_overrides(SUBJECT, "") == ()
    assert valid_overrides(replace(SUBJECT, golden_digest="8" * 64), registry) == ()


# The verdict


def test_the_verdict_says_who_is_compared_on_what_terms():
    verdict = concluded(PASSES)
    assert (verdict.candidate, verdict.champion, verdict.champion_generation) == (SUBJECT.candidate, SUBJECT.champion, 4)
    assert (verdict.num_images, verdict.looks, verdict.attempt, verdict.alpha) == (3, 2, 2, 0.01)
    assert verdict.policy == POLICY.model_dump(mode="json")
    assert (verdict.outcome, verdict.flips.num_broken, verdict.signature) == ("pass", 24, "")


def test_findings_are_kept():
    found = Findings(Flips(), (Case(location="1.png", wanted="a", given="b"),), (Confusion(name="a taken for b", candidate=3),))
    verdict = conclude(SUBJECT, [PASSES], found, Terms(POLICY, Budget()))
    assert (verdict.cases, verdict.errors) == (found.cases, found.errors)


def test_a_failed_check_fails_and_is_the_reason():
    verdict = concluded(PASSES, FAILS)
    assert verdict.outcome == "fail"
    assert "site=B" in verdict.reason


def test_without_a_required_check_nothing_is_shown():
    assert concluded(PASSES.model_copy(update={"required": False, "outcome": "info"})).outcome == "inconclusive"


def test_an_override_waives_its_check_and_stands_in_the_verdict():
    given = override()
    verdict = concluded(PASSES, FAILS, overrides=(given, override(checks=("site=A",))))
    assert (verdict.outcome, verdict.overrides) == ("pass", (given,))
    waived = verdict.checks[1]
    assert (waived.outcome, waived.estimate) == ("waived", -0.3)
    assert "Ada" in waived.detail
    assert "by override" in verdict.reason


def test_an_override_waives_nothing_that_nobody_may_waive():
    verdict = concluded(PASSES, BROKEN, overrides=(override(checks=("valid answers", "overall")),))
    assert (verdict.outcome, verdict.overrides) == ("fail", ())


def test_a_verdict_with_an_override_can_be_read_back(tmp_path):
    verdict = concluded(PASSES, FAILS, overrides=(override(),))

    def write(folder):
        write_verdict(folder, verdict)
        return {}

    commit_artifact(tmp_path / "v", KIND, write)
    assert read_verified(tmp_path / "v").overrides == verdict.overrides
    assert overall_outcome(verdict.checks) == verdict.outcome


def test_what_was_found_outside_one_slice_is_never_said_of_another_that_decides_after_a_waiver():
    other = FAILS.model_copy(update={"name": "site=C", "slice": "site=C", "estimate": -0.2})
    findings = Findings(Flips(), outside=())
    plain = conclude(SUBJECT, [PASSES, FAILS, other], findings, Terms(POLICY, Budget()))
    assert "on the images without site=B no slice is shown to be worse" in plain.reason
    waived = conclude(SUBJECT, [PASSES, FAILS, other], findings, Terms(POLICY, Budget(), (override(),)))
    assert (waived.outcome, waived.outside) == ("fail", None)
    assert "without" not in waived.reason
