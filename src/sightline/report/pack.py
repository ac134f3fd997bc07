"""Writes the evidence pack: ``report.html`` for people, ``summary.json`` for programs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sightline.config.store import StoreConfig
from sightline.registry.ledger import Champion
from sightline.report.cards import worst_slice
from sightline.report.champions import Champions, read_champions
from sightline.report.cost import Prices, RunCost, cost_of
from sightline.report.evidence import RunEvidence, StepEvidence, read_runs
from sightline.report.judge import Judgement, judge
from sightline.report.page import Page, render
from sightline.report.sentence import headline
from sightline.report.views import (
    ArmView,
    BenchmarkView,
    DeploymentView,
    DriftView,
    Interval,
    OverrideView,
    SignalView,
    Status,
    VerdictView,
)
from sightline.store.objects import open_store

REPORT = "report.html"
SUMMARY = "summary.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepSummary(_Frozen):
    """One step of a run; ``seconds`` of wall clock, ``cached`` when an earlier result was used."""

    run: str
    name: str
    seconds: float
    status: str
    cached: bool
    headline: str


class SliceSummary(_Frozen):
    """The slice that lost most, see ``GateSummary``; ``difference`` is None without a champion."""

    name: str
    value: float | None
    difference: float | None
    num_images: int | None


class GateSummary(_Frozen):
    """One verdict; values and differences of ``metric`` are shares in [0, 1], ``waived`` names checks that ship without passing."""

    run: str
    stage: str
    outcome: str
    reason: str
    metric: str
    value: float | None
    champion_value: float | None
    difference: float | None
    interval: Interval | None
    worst_slice: SliceSummary | None
    golden_digest: str
    looks: int | None
    attempt: int | None
    alpha: float | None
    waived: tuple[str, ...]
    overrides: tuple[OverrideView, ...]
    candidate: str


class CanarySummary(_Frozen):
    """The last deployment."""

    run: str
    outcome: str
    requests: int | None
    fallbacks: int | None
    client_errors: int | None
    reason: str
    arms: dict[str, ArmView]


class DriftSummary(_Frozen):
    """The last look at drift."""

    run: str
    decision: str
    reason: str
    num_reference: int | None
    num_served: int | None
    signals: tuple[SignalView, ...]


class ChampionSummary(_Frozen):
    """The model in production when the pack was written."""

    generation: int
    digest: str
    run_id: str
    verdict_digest: str
    promoted_at: float
    previous: int | None


class Summary(_Frozen):
    """``summary.json``.

    Attributes:
        status: how the last run that decided or broke ended; runs that only monitored count when there is no other.
        reason: one sentence from the step that decided.
        sentence: the verdict with its evidence, for a product owner.
        run: the run that ``status`` is about.
        chosen_backend: the variant that ships, from that run's compile step; empty when it did not get there.
        report: where the page is, a path or ``s3://…``.
        exit_code: 0 promoted or nothing to do, 3 rejected, 4 drift asks for a retraining, 5 rolled back, else of the failed step.
        cost: what the runs cost; None where no prices are known.
    """

    title: str
    status: Status
    reason: str
    sentence: str
    run: str
    runs: tuple[str, ...]
    steps: tuple[StepSummary, ...]
    gate: tuple[GateSummary, ...]
    canary: CanarySummary | None
    drift: DriftSummary | None
    chosen_backend: str
    champion: ChampionSummary | None
    report: str
    exit_code: int
    cost: RunCost | None = None


def write_pack(place: str | Path, *, store: StoreConfig, run_ids: Sequence[str], title: str) -> Summary:
    """Writes ``report.html`` and ``summary.json`` to ``place`` and returns the summary.

    Missing, altered or unreadable artifacts never stop it: the page says what is missing, and what cannot be shown to have succeeded is
    "failed".

    Args:
        place: where the two files go, a folder or ``s3://…``; made when needed, older ones are replaced.
        store: where the runs' records and the ledger are.
        run_ids: the runs, in the order in which they were started.
        title: the page's title.

    Raises:
        EnvironmentFault: nothing can be written there.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-report-") as scratch:
        runs = read_runs(store, run_ids, scratch=Path(scratch))
        return write_evidence(place, runs=runs, judgement=judge(runs), champions=read_champions(store), title=title)


def write_evidence(
    place: str | Path,
    *,
    runs: Sequence[RunEvidence],
    judgement: Judgement,
    champions: Champions,
    title: str,
    prices: Prices | None = None,
) -> Summary:
    """Writes the pack of runs that were read and judged already; with prices the summary says what the runs cost."""
    run = next((run for run in runs if run.run_id == judgement.run_id), None)
    promoted = champions.promoted_by([judgement.run_id]) if judgement.status == "promoted" else None
    sentence = headline(judgement, run, promoted.generation if promoted else None)
    page = Page(title=title, judgement=judgement, sentence=sentence, runs=tuple(runs), champions=champions)
    summary = Summary(
        title=title,
        status=judgement.status,
        reason=judgement.reason,
        sentence=sentence,
        run=judgement.run_id,
        runs=tuple(one.run_id for one in runs),
        steps=tuple(_step(one.run_id, step) for one in runs for step in one.steps),
        gate=tuple(_gate(one.run_id, step) for one in runs for step in one.steps if step.part == "gate"),
        canary=_canary(runs),
        drift=_drift(runs),
        chosen_backend=_chosen(run),
        champion=_champion(champions.current),
        report=f"{place}/{REPORT}",
        exit_code=judgement.exit_code,
        cost=cost_of([record for one in runs for record in one.attempts], prices) if prices else None,
    )
    target = open_store(str(place))
    target.write(REPORT, render(page).encode())
    target.write(SUMMARY, summary.model_dump_json(indent=1).encode())
    return summary


def _step(run_id: str, step: StepEvidence) -> StepSummary:
    record = step.record
    fields = {"name": record.name, "seconds": record.seconds, "status": record.status, "cached": record.cached}
    return StepSummary.model_validate({"run": run_id, **fields, "headline": record.headline or record.error.strip().split("\n")[0]})


def _gate(run_id: str, step: StepEvidence) -> GateSummary:
    verdict = step.read("verdict.json", VerdictView) or VerdictView()
    overall = verdict.overall
    worst = worst_slice(verdict)
    return GateSummary(
        run=run_id,
        stage=verdict.stage or step.record.name.removeprefix("gate-"),
        outcome=step.record.outcome or step.record.status,
        reason=verdict.reason or step.problem,
        metric=verdict.metric,
        value=overall.value if overall else None,
        champion_value=overall.reference if overall else None,
        difference=overall.estimate if overall and overall.is_difference else None,
        interval=overall.interval if overall else None,
        worst_slice=SliceSummary(
            name=worst.slice or worst.name,
            value=worst.value,
            difference=worst.estimate if worst.is_difference else None,
            num_images=worst.num_images,
        )
        if worst
        else None,
        golden_digest=verdict.golden_digest,
        looks=verdict.looks,
        attempt=verdict.attempt,
        alpha=verdict.alpha,
        waived=tuple(check.name for check in verdict.waived),
        overrides=verdict.overrides,
        candidate=verdict.candidate,
    )


def last_step(runs: Sequence[RunEvidence], name: str) -> tuple[str, StepEvidence] | None:
    """The step of that name in the latest run that has it, with the run's id."""
    return next(((run.run_id, step) for run in reversed(runs) if (step := run.step(name)) is not None), None)


def _canary(runs: Sequence[RunEvidence]) -> CanarySummary | None:
    found = last_step(runs, "deploy")
    if found is None:
        return None
    run_id, step = found
    view = step.read("deployment.json", DeploymentView) or DeploymentView(outcome=step.record.outcome, reason=step.problem)
    shown = {"outcome": view.outcome, "requests": view.requests, "fallbacks": view.fallbacks, "client_errors": view.client_errors}
    return CanarySummary.model_validate({"run": run_id, **shown, "reason": view.reason, "arms": view.arms})


def _drift(runs: Sequence[RunEvidence]) -> DriftSummary | None:
    found = last_step(runs, "monitor")
    if found is None:
        return None
    run_id, step = found
    view = step.read("drift.json", DriftView) or DriftView(decision=step.record.outcome, reason=step.problem)
    counts = {"num_reference": view.num_reference, "num_served": view.num_served}
    signals = tuple(signal.model_copy(update={"histogram": None}) for signal in view.signals)
    return DriftSummary.model_validate({"run": run_id, "decision": view.decision, "reason": view.reason, **counts, "signals": signals})


def _chosen(run: RunEvidence | None) -> str:
    step = run.step("compile") if run else None
    benchmark = step.read("benchmark.json", BenchmarkView) if step else None
    return benchmark.chosen if benchmark else ""


def _champion(champion: Champion | None) -> ChampionSummary | None:
    if champion is None:
        return None
    return ChampionSummary(**{name: getattr(champion, name) for name in ChampionSummary.model_fields})
