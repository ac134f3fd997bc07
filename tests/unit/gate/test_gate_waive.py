"""Overrides applied to checks."""

import pytest

from sightline.evaluate.verdict import Check, Override, overall_outcome
from sightline.gate.waive import waive


def check(name: str = "overall", **changes) -> Check:
    return Check(**{"name": name, "kind": "overall", "required": True, "outcome": "fail", "value": 0.9, "detail": "worse"} | changes)


def override(*checks: str, **changes) -> Override:
    fields = {"candidate": "c", "golden_digest": "g", "checks": checks or ("overall",), "who": "Ada", "why": "the old site is closed"}
    return Override(**fields | {"made_at": 0.0, "until": 1_800_000_000.0, "verdict": "v"} | changes)


@pytest.mark.parametrize("outcome", ["fail", "inconclusive"])
def test_a_blocking_check_is_waived_and_says_by_whom_until_when_and_why(outcome):
    checks, used = waive([check(outcome=outcome, estimate=-0.1)], [override()])
    assert checks[0].outcome == "waived"
    assert checks[0].detail == f"waived by Ada until 2027-01-15 08:00 UTC (the old site is closed); it was {outcome}: worse"
    assert (checks[0].estimate, checks[0].required) == (-0.1, True)
    assert used == (override(),)
    assert overall_outcome(checks) == "pass"


def test_a_check_that_is_not_named_still_blocks():
    checks, _ = waive([check(), check("site=A")], [override()])
    assert [one.outcome for one in checks] == ["waived", "fail"]
    assert overall_outcome(checks) == "fail"


def test_without_overrides_nothing_changes():
    given = (check(), check("site=A", outcome="pass"))
    assert waive(given, []) == (given, ())


@pytest.mark.parametrize("outcome", ["pass", "warn", "info"])
def test_a_check_that_does_not_block_is_left_alone_and_its_override_is_not_used(outcome):
    assert waive([check(outcome=outcome)], [override()]) == ((check(outcome=outcome),), ())


def test_a_check_that_is_not_required_is_left_alone():
    assert waive([check(required=False)], [override()]) == ((check(required=False),), ())


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "answers"},
        {"kind": "sentinel"},
        {"kind": "parity", "value": None},
        {"kind": "parity", "value": None, "outcome": "inconclusive"},
    ],
)
def test_must_pass_cases_and_answers_that_are_no_numbers_are_never_waived(changes):
    given = (check(**changes),)
    assert waive(given, [override()]) == (given, ())


def test_a_measured_loss_of_parity_can_be_waived():
    checks, _ = waive([check(kind="parity")], [override()])
    assert checks[0].outcome == "waived"


def test_of_several_overrides_the_one_that_lasts_longest_counts():
    short, long = override(who="Bob", until=1_700_000_000.0), override("overall", "site=A")
    checks, used = waive([check(), check("site=B")], [short, long])
    assert checks[0].detail.startswith("waived by Ada")
    assert used == (long,)
