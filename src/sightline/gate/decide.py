"""From evidence to checks: the promotion policy."""

from collections.abc import Collection, Iterable

from sightline.config.gate import GateConfig
from sightline.errors import UsageError
from sightline.evaluate.predict import Answers
from sightline.evaluate.slices import near_matches
from sightline.evaluate.verdict import Check, CheckOutcome
from sightline.gate.evidence import Evidence
from sightline.gate.first import first_model_checks
from sightline.gate.paired import champion_checks, parity_checks


def decide(evidence: Evidence, policy: GateConfig) -> tuple[Check, ...]:
    """Every check of the policy, in the order in which a person reads them; ``overall_outcome`` of them is the verdict."""
    checks = [*_answers(evidence), *_sentinels(evidence)]
    checks += first_model_checks(evidence, policy) if evidence.champion is None else champion_checks(evidence, evidence.champion, policy)
    if evidence.stage == "compiled":
        if evidence.eager is None:
            checks.append(_unknown("parity with the trained model", "there are no answers of the trained weights to compare with"))
        else:
            checks += parity_checks(evidence, evidence.eager, policy)
    return (*checks, _size(evidence, policy), *_latency(evidence, policy))


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


def _sentinels(evidence: Evidence) -> list[Check]:
    if not evidence.sentinels:
        return []
    wrong = [f"{s.location}: {s.predicted or 'no valid answer'} instead of {s.label}" for s in evidence.sentinels if s.predicted != s.label]
    outcome: CheckOutcome = "fail" if wrong else "pass"
    num_images = len(evidence.sentinels)
    detail = "; ".join(wrong[:10]) if wrong else "all must-never-fail images are right"
    name = f"sentinels ({num_images - len(wrong)} of {num_images} right)"
    return [Check(name=name, kind="sentinel", required=True, outcome=outcome, num_images=num_images, num_broken=len(wrong), detail=detail)]


def _size(evidence: Evidence, policy: GateConfig) -> Check:
    size_mb = evidence.size_bytes / 1e6
    outcome: CheckOutcome = "pass" if 0 < size_mb <= policy.max_size_mb else "fail"
    detail = f"{size_mb:.2f} MB, at most {policy.max_size_mb:g} MB" if size_mb else "the model has no file"
    values = {"value": size_mb, "estimate": size_mb, "margin": policy.max_size_mb}
    return Check(name="model size", kind="size", required=True, outcome=outcome, detail=detail, **values)


def _latency(evidence: Evidence, policy: GateConfig) -> list[Check]:
    if evidence.latency is None:
        return []
    p95_ms, limit = evidence.latency.p95_ms, policy.max_p95_ms
    if p95_ms is None:
        return [Check(name="latency p95", kind="latency", required=True, outcome="fail", margin=limit, detail=evidence.latency.problem)]
    outcome: CheckOutcome = "pass" if p95_ms <= limit else "fail"
    detail = f"{p95_ms:.2f} ms at batch 1, at most {limit:g} ms"
    values = {"value": p95_ms, "estimate": p95_ms, "margin": limit}
    return [Check(name="latency p95", kind="latency", required=True, outcome=outcome, detail=detail, **values)]


def _unknown(name: str, detail: str) -> Check:
    return Check(name=name, kind="parity", required=True, outcome="inconclusive", detail=detail)
