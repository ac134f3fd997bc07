"""The key figures of the run that decided, one card each; what is not known says so."""

from dataclasses import dataclass

from sightline.report import figures
from sightline.report.evidence import RunEvidence, StepEvidence
from sightline.report.sentence import last_verdict
from sightline.report.values import change_text, title_of, value_text
from sightline.report.views import BenchmarkView, CheckView, DeploymentView, DriftView, VariantView, VerdictView

_NOT_REACHED = "not reached"
_WAIVED = "does not pass, waived by a person"


@dataclass(frozen=True)
class Card:
    """A figure: its name, its value, one line below it, and whether it is good, bad, waived or none of these."""

    name: str
    value: str
    detail: str = ""
    tone: str = ""


def build_cards(run: RunEvidence | None, monitor: StepEvidence | None) -> list[Card]:
    """The verdict's metric, worst slice, latency, size, canary and drift; of a run that only monitored, drift alone.

    Args:
        run: the run that decided; None when there is none.
        monitor: the latest look at drift of any run.
    """
    verdict = last_verdict(run) if run else None
    variants = _variants(run)
    deployment = run.step("deploy") if run else None
    found = [_overall(verdict), _worst_slice(verdict), _latency(*variants), _size(*variants), _canary(deployment)]
    reached = any(card.value != _NOT_REACHED for card in found)
    return [*(found if reached else []), *([_drift(monitor)] if monitor else [])]


def worst_slice(verdict: VerdictView | None) -> CheckView | None:
    """The judged slice with the largest certain loss, or without a champion the lowest value; small and discovered ones are not judged."""
    known = [check for check in (verdict.slices if verdict else ()) if check.required and check.value is not None]
    paired = [check for check in known if check.is_paired]
    return max(paired or known, key=lambda check: (check.certain_loss, check.loss), default=None)


def _overall(verdict: VerdictView | None) -> Card:
    # Without a verdict nobody knows yet which metric decides.
    if verdict is None:
        return Card("Golden images", _NOT_REACHED)
    name, overall = title_of(verdict.metric) or "Golden images", verdict.overall
    if overall is None or overall.value is None:
        return Card(name, figures.MISSING)
    if overall.reference is not None:
        detail = f"champion {value_text(overall, overall.reference)}{_joined(change_text(overall))}"
    else:
        detail = f"no champion to compare with{_joined(f'at least {value_text(overall, overall.low)}' if overall.low is not None else '')}"
    return Card(name, value_text(overall, overall.value), detail + _joined(_waived(overall)), _tone(overall))


def _worst_slice(verdict: VerdictView | None) -> Card:
    worst = worst_slice(verdict)
    if worst is None:
        return Card("Worst slice", _NOT_REACHED if verdict is None else "no slices")
    images = f"{figures.count(worst.num_images)} images"
    detail = f"{worst.slice or worst.name}{_joined(change_text(worst))}{_joined(images)}{_joined(_waived(worst))}"
    tone = "" if worst.outcome == "pass" else _tone(worst)
    return Card("Worst slice", value_text(worst, worst.value), detail, tone)


def _waived(check: CheckView) -> str:
    return _WAIVED if check.outcome == "waived" else ""


def _tone(check: CheckView) -> str:
    return {"pass": "good", "fail": "bad", "waived": "waived"}.get(check.outcome, "")


def _joined(text: str) -> str:
    return f" · {text}" if text else ""


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
