"""The page's sections as data: what each step left, or a sentence that says what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from sightline.report.drawings import canary_charts, drift_charts, training_charts
from sightline.report.evidence import RunEvidence, StepEvidence
from sightline.report.images import Examples, Flips, class_examples, flip_images, served_images
from sightline.report.thumbnails import Thumbnails
from sightline.report.variants import VariantTable, variant_table
from sightline.report.views import (
    BenchmarkView,
    DatasetView,
    DeploymentView,
    DriftView,
    EpochView,
    HistoryView,
    ModelView,
    TrialView,
    VariantsView,
    VariantView,
    VerdictView,
)

ViewT = TypeVar("ViewT")
_TRIALS = TypeAdapter(tuple[TrialView, ...])
_EPOCHS = TypeAdapter(tuple[EpochView, ...])


@dataclass(frozen=True)
class Entry(Generic[ViewT]):
    """What one step of one run shows.

    Attributes:
        run_id: the run.
        step: its record and artifact.
        view: the parsed file; None when it is missing, and ``missing`` says why.
        charts: inline SVG, as safe text.
    """

    run_id: str
    step: StepEvidence
    view: ViewT | None
    missing: str = ""
    charts: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateEntry(Entry[VerdictView]):
    """A gate: ``span`` is half the width of the interval bars' scale, ``variants`` None when they were not judged."""

    span: float = 0.1
    flips: Flips = field(default_factory=Flips)
    variants: VariantTable | None = None


@dataclass(frozen=True)
class CompileEntry(Entry[BenchmarkView]):
    """The variants, and the figures that their bars are drawn against."""

    baseline: VariantView | None = None
    largest_ms: float = 0.0


@dataclass(frozen=True)
class DriftEntry(Entry[DriftView]):
    """The drift tests, and images as they were served."""

    served: Examples = field(default_factory=Examples)


@dataclass(frozen=True)
class DataEntry(Entry[DatasetView]):
    """The dataset's counts, examples per class, and the first refused files."""

    examples: tuple[Examples, ...] = ()
    refused: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Search:
    """The search before the training: ``trials`` by accuracy, ``best`` whose parameters were used, ``untuned`` from the configuration."""

    trials: tuple[TrialView, ...]
    best: TrialView | None
    untuned: TrialView | None


@dataclass(frozen=True)
class TrainEntry(Entry[ModelView]):
    """The model, its curves, and the search before it; None without a search."""

    search: Search | None = None


@dataclass(frozen=True)
class Section:
    """One section: ``entries`` the most important first, ``note`` what the run in question did not reach."""

    id: str
    title: str
    lead: str
    entries: tuple[Entry[Any], ...]
    note: str = ""


def build_sections(runs: Sequence[RunEvidence], run_id: str, first: str = "") -> list[Section]:
    """All sections in the order of the page, those that no run reached last; in each, the run that decided comes first.

    Args:
        runs: the runs in the order of their start.
        run_id: the run that decided.
        first: the section that opens the page; empty keeps the usual order.
    """
    newest_first = list(reversed(runs))
    ordered = sorted(newest_first, key=lambda run: run.run_id != run_id)
    thumbnails = Thumbnails()
    sections = [
        _section(_GATE, ordered, run_id, lambda run, step: _gate(run, step, thumbnails)),
        _section(_COMPILE, ordered, run_id, _compile),
        _section(_CANARY, ordered, run_id, _canary),
        _section(_DRIFT, ordered, "", lambda run, step: _drift(run, step, thumbnails)),
        _section(_DATA, ordered, run_id, lambda run, step: _data(run, step, thumbnails)),
        _section(_TRAINING, ordered, run_id, _training),
    ]
    return sorted(sections, key=lambda section: (not section.entries, section.id != first))


@dataclass(frozen=True)
class _Kind:
    id: str
    title: str
    lead: str
    steps: tuple[str, ...]


_GATE = _Kind(
    "gate", "Gate", "Is the candidate at least as good as the champion, overall and on each slice?", ("gate-compiled", "gate-trained")
)
_COMPILE = _Kind("compile", "Compile", "Which variant ships: the fastest that keeps its answers.", ("compile",))
_CANARY = _Kind("canary", "Canary", "How the candidate behaved under requests, beside the incumbent.", ("deploy",))
_DRIFT = _Kind("drift", "Drift", "Are served images still like those that the model was validated on?", ("monitor",))
_DATA = _Kind("data", "Data", "What the model was trained and judged on.", ("ingest",))
_TRAINING = _Kind("training", "Training", "How the weights came about.", ("train",))


def _section(kind: _Kind, runs: Sequence[RunEvidence], run_id: str, build: Callable[[RunEvidence, StepEvidence], Entry[Any]]) -> Section:
    found = [(run, step) for run in runs for name in kind.steps if (step := run.step(name)) is not None]
    missing = run_id and all(run.run_id != run_id for run, _ in found)
    note = f"Run {run_id} did not reach this step." if missing else "" if found else "No run reached this step."
    return Section(kind.id, kind.title, kind.lead, tuple(build(run, step) for run, step in found), note)


def _why_missing(step: StepEvidence, view: object, file: str) -> str:
    if view is not None:
        return ""
    return step.problem or f"{file} is not in the artifact of step {step.record.name}, or cannot be read"


def _gate(run: RunEvidence, step: StepEvidence, thumbnails: Thumbnails) -> GateEntry:
    view = step.read("verdict.json", VerdictView)
    ingest = run.step("ingest")
    return GateEntry(
        run.run_id,
        step,
        view,
        _why_missing(step, view, "verdict.json"),
        span=_span(view),
        flips=flip_images(step, ingest, thumbnails) if view is not None else Flips(),
        variants=variant_table(step.read("variants.json", VariantsView)),
    )


def _span(view: VerdictView | None) -> float:
    drawn = [check for check in (view.checks if view else ()) if check.is_difference and check.kind != "discovered-slice"]
    ends = [abs(end) for check in drawn for end in (check.low, check.high) if end is not None]
    ends += [check.margin for check in drawn if check.margin is not None]
    return min(0.5, max([0.02, *ends]) * 1.1)


def _compile(run: RunEvidence, step: StepEvidence) -> CompileEntry:
    view = step.read("benchmark.json", BenchmarkView)
    variants = view.variants if view else ()
    return CompileEntry(
        run.run_id,
        step,
        view,
        _why_missing(step, view, "benchmark.json"),
        baseline=view.variant("eager") if view else None,
        largest_ms=max((variant.p50_ms or 0.0 for variant in variants), default=0.0),
    )


def _canary(run: RunEvidence, step: StepEvidence) -> Entry[DeploymentView]:
    view = step.read("deployment.json", DeploymentView)
    return Entry(run.run_id, step, view, _why_missing(step, view, "deployment.json"), charts=canary_charts(view) if view else ())


def _drift(run: RunEvidence, step: StepEvidence, thumbnails: Thumbnails) -> DriftEntry:
    view = step.read("drift.json", DriftView)
    charts = drift_charts(view) if view else ()
    return DriftEntry(run.run_id, step, view, _why_missing(step, view, "drift.json"), charts, served_images(step, thumbnails))


def _data(run: RunEvidence, step: StepEvidence, thumbnails: Thumbnails) -> DataEntry:
    view = step.read("dataset.json", DatasetView)
    examples, refused = class_examples(step, thumbnails)
    return DataEntry(run.run_id, step, view, _why_missing(step, view, "dataset.json"), examples=examples, refused=refused)


def _training(run: RunEvidence, step: StepEvidence) -> TrainEntry:
    view = step.read("model.json", ModelView)
    history = step.read("history.json", HistoryView)
    epochs = history.epochs if history else step.read_as("history.json", _EPOCHS) or ()
    tune = run.step("tune")
    return TrainEntry(
        run.run_id,
        step,
        view,
        _why_missing(step, view, "model.json"),
        training_charts(epochs),
        search=_search(tune) if tune else None,
    )


def _search(tune: StepEvidence) -> Search | None:
    trials = tune.read_as("trials.json", _TRIALS) or ()
    chosen = tune.read("best.json", TrialView)
    if not trials:
        return None
    ordered = tuple(sorted(trials, key=lambda trial: -(trial.val_accuracy if trial.val_accuracy is not None else -1.0)))
    best = next((trial for trial in ordered if chosen and _parameters(trial) == _parameters(chosen)), None)
    untuned = next((trial for trial in ordered if trial.trial == 0), None)
    return Search(ordered, best, untuned)


def _parameters(trial: TrialView) -> tuple[float | None, ...]:
    return (trial.lr, trial.weight_decay, trial.augment)
