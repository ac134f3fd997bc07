"""From evidence to checks: the promotion policy."""

from collections.abc import Collection, Iterable, Sequence

from sightline.config.gate import GateConfig
from sightline.errors import UsageError
from sightline.evaluate.predict import Answers
from sightline.evaluate.slices import near_matches
from sightline.evaluate.verdict import Case, Check, CheckOutcome
from sightline.gate.anchor import anchor_checks
from sightline.gate.budgets import budget_checks
from sightline.gate.calibration import calibration_checks
from sightline.gate.evidence import Evidence
from sightline.gate.first import first_model_checks
from sightline.gate.paired import champion_checks, discovered_checks, parity_checks
from sightline.gate.robustness import robustness_checks
from sightline.gate.slice_parity import slice_parity_checks


def decide(evidence: Evidence, policy: GateConfig) -> tuple[Check, ...]:
    """Every check of the policy, in the order in which a person reads them; ``overall_outcome`` of them is the verdict."""
    checks = [*_answers(evidence), *case_checks(evidence.cases)]
    checks += first_model_checks(evidence, policy) if evidence.champion is None else champion_checks(evidence, evidence.champion, policy)
    checks += anchor_checks(evidence, policy)
    if evidence.stage == "compiled":
        if evidence.eager is None:
            checks.append(_unknown("parity with the trained model", "there are no answers of the trained weights to compare with"))
        else:
            checks += parity_checks(evidence, evidence.eager, policy)
    checks += calibration_checks(evidence, policy)
    checks += robustness_checks(evidence, policy)
    checks += slice_parity_checks(evidence, policy)
    if evidence.measured is not None:
        checks += budget_checks(evidence.measured, policy, stage=evidence.stage)
    return (*checks, *discovered_checks(evidence, policy))


def require_known_slices(names: Iterable[str], known: Collection[str]) -> None:
    """UsageError, with near matches, for a critical slice that no image of the dataset is in."""
    problems = []
    for name in names:
        if name not in known:
            close = near_matches(name, known)
            problems.append(f"'{name}'" + (f" (did you mean {', '.join(close)}?)" if close else ""))
    if problems:
        raise UsageError(
            f"gate.critical_slices names slices that the data does not have: {'; '.join(problems)}",
            remedy=f"use attribute=value; there are: {', '.join(sorted(known)[:30])}",
        )


def _answers(evidence: Evidence) -> list[Check]:
    given: list[tuple[str, Answers | None, CheckOutcome]] = [
        ("valid answers", evidence.candidate, "fail"),
        ("valid answers of the champion", evidence.champion, "inconclusive"),
        ("valid answers of the trained model", evidence.eager, "inconclusive"),
    ]
    checks = []
    for name, answers, otherwise in given:
        if answers is not None and (answers.num_invalid or otherwise == "fail"):
            detail = f"{answers.num_invalid or 'no'} answers with NaN or infinite probabilities"
            outcome: CheckOutcome = otherwise if answers.num_invalid else "pass"
            num_images = len(answers.sample_ids)
            checks.append(Check(name=name, kind="answers", required=True, outcome=outcome, num_images=num_images, detail=detail))
    return checks


def case_checks(given: Sequence[Case]) -> list[Check]:
    """The required check of the must-pass cases; none without any."""
    if not given:
        return []
    wrong = [f"{case.location}: {case.given or 'no valid answer'} instead of {case.wanted}" for case in given if not case.passes]
    outcome: CheckOutcome = "fail" if wrong else "pass"
    num_images = len(given)
    detail = "; ".join(wrong[:10]) if wrong else "all must-pass cases are right"
    name = f"must-pass cases ({num_images - len(wrong)} of {num_images} right)"
    return [Check(name=name, kind="sentinel", required=True, outcome=outcome, num_images=num_images, num_broken=len(wrong), detail=detail)]


def _unknown(name: str, detail: str) -> Check:
    return Check(name=name, kind="parity", required=True, outcome="inconclusive", detail=detail)
