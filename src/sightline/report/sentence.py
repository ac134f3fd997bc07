"""The verdict in one or two sentences for a product owner."""

from collections.abc import Sequence

from sightline.report import figures
from sightline.report.evidence import RunEvidence, StepEvidence
from sightline.report.judge import Judgement
from sightline.report.views import DeploymentView, DriftView, VerdictView

WORDS = {"promoted": "Promoted", "rejected": "Rejected", "rolled-back": "Rolled back", "monitored": "Monitored", "failed": "Failed"}
_DECISIONS = {
    "wait": "too few images were served to say anything about drift",
    "ignore": "no drift that matters, the champion stays",
    "label": "some signals drifted: label the newest images first",
    "retrain": "the served images drifted: retrain",
}


def headline(judgement: Judgement, run: RunEvidence | None, generation: int | None) -> str:
    """What happened and on what evidence.

    Args:
        judgement: how the run ended.
        run: the run it is about; None when there is none.
        generation: the generation that this run made champion, if it is known.
    """
    if judgement.status == "failed" or run is None:
        return f"Failed: {closed(judgement.reason)} {_after_failure(run)}".strip()
    verdict = last_verdict(run)
    if judgement.status == "promoted":
        return " ".join([_replaces(verdict, generation), _evidence(run)])
    if judgement.status == "rejected":
        return f"Rejected: {_keeps(verdict)}. {closed(judgement.reason)}"
    if judgement.status == "rolled-back":
        return f"Rolled back: the canary was withdrawn and {_keeps(verdict)}. {closed(judgement.reason)}"
    step = run.step("monitor")
    drift = step.read("drift.json", DriftView) if step else None
    decision = (drift.decision if drift else "") or (step.record.outcome if step else "")
    return f"Monitored: {_DECISIONS.get(decision, decision or 'no decision was recorded')}. {closed(drift.reason if drift else '')}".strip()


def last_gate(run: RunEvidence) -> tuple[StepEvidence, VerdictView] | None:
    """The verdict on what ships: of the compiled model when the run got so far, else of the trained one."""
    for name in ("gate-compiled", "gate-trained"):
        step = run.step(name)
        verdict = step.read("verdict.json", VerdictView) if step else None
        if step is not None and verdict is not None:
            return step, verdict
    return None


def last_verdict(run: RunEvidence) -> VerdictView | None:
    """As ``last_gate``, without the step."""
    found = last_gate(run)
    return found[1] if found else None


def confidence(step: StepEvidence) -> str:
    """The level of the gate's two-sided intervals, e.g. "90 % " for one-sided tests at 5 %; empty when it is not recorded."""
    alpha = step.artifact.manifest.config.get("alpha") if step.artifact else None
    return f"{figures.percent(1 - 2 * alpha, 0)} " if isinstance(alpha, float) and 0 < alpha < 0.5 else ""


def closed(text: str) -> str:
    """The text as a sentence: first letter upper case unless it is a name like "light=night", a full stop at the end; empty stays empty."""
    clean = text.strip().rstrip(".")
    if not clean:
        return ""
    start = clean[0] if "=" in clean.split(maxsplit=1)[0] else clean[0].upper()
    return f"{start}{clean[1:]}{'' if clean[-1] in '!?…' else '.'}"


def _after_failure(run: RunEvidence | None) -> str:
    if run is None or any(outcome.kind == "promoted" for outcome in run.outcomes):
        return ""
    return "Nothing was promoted by this run."


def _replaces(verdict: VerdictView | None, generation: int | None) -> str:
    name = f"generation {generation}" if generation else "the candidate"
    if verdict is not None and verdict.champion_generation:
        return f"Promoted: {name} replaces generation {verdict.champion_generation}."
    return f"Promoted: {name} is the first champion." if verdict is not None else f"Promoted: {name} is the new champion."


def _keeps(verdict: VerdictView | None) -> str:
    if verdict is None:
        return "nothing changes in production"
    return f"generation {verdict.champion_generation} keeps serving" if verdict.champion_generation else "there is still no champion"


def _evidence(run: RunEvidence) -> str:
    gate = last_gate(run)
    parts = [_accuracy(*gate), _slices(gate[1])] if gate else []
    parts = [part for part in (*parts, _canary(run)) if part]
    return closed("; ".join(parts)) or "The numbers behind it are not available any more."


def _accuracy(step: StepEvidence, verdict: VerdictView) -> str:
    overall = verdict.overall
    if overall is None or overall.value is None:
        return ""
    images = f" on {figures.count(verdict.num_images)} golden images" if verdict.num_images else ""
    if overall.is_difference:
        bounds = f", {confidence(step)}interval {figures.interval(overall.low, overall.high)}" if overall.interval else ""
        change = f" ({figures.points(overall.estimate)} points{bounds})"
    else:
        change = f" (shown to be at least {figures.percent(overall.low)})" if overall.low is not None else ""
    return f"overall accuracy {figures.percent(overall.value)}{change}{images}"


def _slices(verdict: VerdictView) -> str:
    if not verdict.slices:
        return ""
    worse = [check.slice or check.name for check in verdict.slices if check.outcome in {"fail", "warn"}]
    if not worse:
        return "no slice got worse" if verdict.champion_generation else "no slice below its limit"
    return f"{_listed(worse)} {'needs' if len(worse) == 1 else 'need'} a look" if len(worse) <= 3 else f"{len(worse)} slices need a look"


def _canary(run: RunEvidence) -> str:
    step = run.step("deploy")
    deployment = step.read("deployment.json", DeploymentView) if step else None
    if deployment is None or deployment.requests is None:
        return ""
    word = "canary healthy" if deployment.outcome == "promoted" else f"canary {deployment.outcome}"
    return f"{word} over {figures.count(deployment.requests)} requests"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
