"""How the runs ended, in one word: promoted, rejected, rolled back, monitored or failed; failed whenever that is not certain."""

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.report.evidence import RunEvidence
from sightline.report.views import Status

EXIT_CODES = {"promoted": 0, "rejected": 3, "rolled-back": 5}
EXIT_RETRAIN = 4
_RETRAIN_PARTS = frozenset({"ingest", "tune", "train", "gate", "compile", "deploy"})


@dataclass(frozen=True)
class Judgement:
    """The end of one run, and the exit code that goes with it."""

    run_id: str
    status: Status
    reason: str
    exit_code: int


def judge(runs: Sequence[RunEvidence]) -> Judgement:
    """The judgement of the last run that decided or broke; runs that only monitored count when no other is left.

    Args:
        runs: in the order in which they were started; none at all is a failure, as is a run without records.
    """
    judged = [judge_run(run) for run in runs]
    decisive = [judgement for judgement in judged if judgement.status != "monitored"]
    if decisive or judged:
        return (decisive or judged)[-1]
    return Judgement("", "failed", "no run was given, so there is nothing to report", 1)


def judge_run(run: RunEvidence) -> Judgement:
    """How this run ended; a failed or unfinished step, unreadable records, no decision or two decisions are failures."""
    broken = _fault(run)
    if broken is not None:
        return broken
    if len(run.outcomes) == 1:
        outcome = run.outcomes[0]
        if outcome.kind == "promoted" and (refusal := _refusing_gate(run)):
            return _failed(run, f"the run contradicts itself: it recorded promoted although {refusal}")
        return Judgement(run.run_id, outcome.kind, outcome.reason, EXIT_CODES[outcome.kind])
    if run.outcomes:
        kinds = " and ".join(outcome.kind for outcome in run.outcomes)
        return _failed(run, f"the run contradicts itself: it recorded {kinds}, where exactly one is allowed")
    if not any(step.part in _RETRAIN_PARTS for step in run.steps):
        return _monitored(run)
    return _failed(run, "the run ended without a decision: neither promoted nor rejected nor rolled back was recorded")


def _fault(run: RunEvidence) -> Judgement | None:
    for step in run.steps:
        if step.record.status == "failed":
            return _failed(run, f"step {step.record.name} failed: {_first_line(step.record.error)}", step.record.exit_code)
        if step.record.status == "running":
            return _failed(run, f"step {step.record.name} started and never finished")
    if run.problems:
        return _failed(run, f"the run's records are damaged: {'; '.join(run.problems)}")
    return None if run.steps or run.outcomes else _failed(run, "the run recorded no step")


def _refusing_gate(run: RunEvidence) -> str:
    refusing = [step.record for step in run.steps if step.part == "gate" and step.record.outcome != "pass"]
    return f"{refusing[0].name} said {refusing[0].outcome}" if refusing else ""


def _monitored(run: RunEvidence) -> Judgement:
    step = run.step("monitor")
    if step is None:
        return _failed(run, "the run has neither a decision on a model nor a look at drift")
    retrain = step.record.outcome == "retrain"
    return Judgement(run.run_id, "monitored", step.record.headline or step.record.outcome, EXIT_RETRAIN if retrain else 0)


def _failed(run: RunEvidence, reason: str, exit_code: int = 1) -> Judgement:
    return Judgement(run.run_id, "failed", reason, exit_code or 1)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no message was recorded"
