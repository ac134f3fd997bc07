"""The key figures of the run that decided, one card each; what is not known says so."""

from dataclasses import dataclass

from sightline.report import figures
from sightline.report.evidence import RunEvidence, StepEvidence
from sightline.report.sentence import last_verdict
from sightline.report.views import BenchmarkView, CheckView, DeploymentView, DriftView, VariantView, VerdictView

_NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Card:
    """A figure: its name, its value, one line below it, and whether it is good, bad or neither."""

    name: str
    value: str
    detail: str = ""
    tone: str = ""


def build_cards(run: RunEvidence | None, monitor: StepEvidence | None) -> list[Card]:
    """Accuracy, worst slice, latency, size, canary and drift; of a run that only monitored, drift alone.

    Args:
        run: the run that decided; None when there is none.
        monitor: the latest look at drift of any run.
    """
    verdict = last_verdict(run) if run else None
    variants = _variants(run)
    deployment = run.step("deploy") if run else None
    found = [_accuracy(verdict), _worst_slice(verdict), _latency(*variants), _size(*variants), _canary(deployment)]
    reached = any(card.value != _NOT_REACHED for card in found)
    return [*(found if reached else []), *([_drift(monitor)] if monitor else [])]


def worst_slice(verdict: VerdictView | None) -> CheckView | None:
    """The judged slice that lost most against the champion, or has the lowest accuracy when there is none; small ones are not judged."""
    known = [check for check in (verdict.slices if verdict else ()) if check.required and check.value is not None]
    if any(check.is_difference for check in known):
        return min((check for check in known if check.is_difference), key=lambda check: check.estimate or 0.0)
    return min(known, key=lambda check: check.value or 0.0, default=None)


def _accuracy(verdict: VerdictView | None) -> Card:
    overall = verdict.overall if verdict else None
    if verdict is None or overall is None:
        return Card("Accuracy", _NOT_REACHED if verdict is None else figures.MISSING)
    tone = {"pass": "good", "fail": "bad"}.get(overall.outcome, "")
    if overall.reference is None:
        low = overall.low
        detail = f"no champion to compare with{f' · at least {figures.percent(low)}' if low is not None else ''}"
    else:
        detail = f"champion {figures.percent(overall.reference)} · {figures.points(overall.estimate)} points"
    return Card("Accuracy", figures.percent(overall.value), detail, tone)


def _worst_slice(verdict: VerdictView | None) -> Card:
    worst = worst_slice(verdict)
    if worst is None:
        return Card("Worst slice", _NOT_REACHED if verdict is None else "no slices")
    change = f"{figures.points(worst.estimate)} points · " if worst.is_difference else ""
    detail = f"{worst.slice or worst.name} · {change}{figures.count(worst.num_images)} images"
    return Card("Worst slice", figures.percent(worst.value), detail, {"fail": "bad"}.get(worst.outcome, ""))


def _variants(run: RunEvidence | None) -> tuple[VariantView | None, VariantView | None]:
    step = run.step("compile") if run else None
    benchmark = step.read("benchmark.json", BenchmarkView) if step else None
    return (benchmark.variant(benchmark.chosen), benchmark.variant("eager")) if benchmark else (None, None)


def _latency(chosen: VariantView | None, eager: VariantView | None) -> Card:
    if chosen is None:
        return Card("Latency p50", _NOT_REACHED)
    detail = f"p95 {figures.milliseconds(chosen.p95_ms)}"
    if eager is not None and eager.p50_ms and chosen.p50_ms and chosen is not eager:
        detail += f" · {figures.ratio(eager.p50_ms / chosen.p50_ms)} as fast as PyTorch"
    return Card("Latency p50", figures.milliseconds(chosen.p50_ms), detail)


def _size(chosen: VariantView | None, eager: VariantView | None) -> Card:
    if chosen is None:
        return Card("Model size", _NOT_REACHED)
    smaller = ""
    if eager is not None and eager.size_bytes and chosen.size_bytes and eager.size_bytes > chosen.size_bytes:
        smaller = f" · {figures.ratio(eager.size_bytes / chosen.size_bytes)} smaller"
    return Card("Model size", figures.megabytes(chosen.size_bytes), f"{chosen.name}{smaller}")


def _canary(step: StepEvidence | None) -> Card:
    deployment = step.read("deployment.json", DeploymentView) if step else None
    if deployment is None:
        return Card("Canary requests", _NOT_REACHED if step is None else figures.MISSING)
    errors = figures.count(deployment.client_errors) if deployment.client_errors is not None else "?"
    detail = f"{errors} client errors · {figures.count(deployment.fallbacks)} fallbacks"
    tone = {"promoted": "good", "rolled-back": "bad"}.get(deployment.outcome, "")
    return Card("Canary requests", figures.count(deployment.requests), detail, tone)


def _drift(step: StepEvidence) -> Card:
    drift = step.read("drift.json", DriftView)
    if drift is None:
        return Card("Drift", step.record.outcome or figures.MISSING)
    detail = f"{drift.num_drifted} of {len(drift.signals)} signals drifted" if drift.signals else "no signal was tested"
    return Card("Drift", drift.decision or figures.MISSING, detail)
