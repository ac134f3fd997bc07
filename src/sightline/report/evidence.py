"""What a run left behind: its step records, its outcomes and the verified artifacts they name."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from sightline.config.store import StoreConfig
from sightline.errors import DataError, EnvironmentFault, TemporaryError
from sightline.report.views import View
from sightline.store.artifact import Artifact, open_artifact
from sightline.store.cache import fetch_artifact
from sightline.store.objects import ObjectStore, open_store
from sightline.store.outcomes import Outcome
from sightline.store.records import StepRecord

ViewT = TypeVar("ViewT", bound=View)
ShapeT = TypeVar("ShapeT")
ModelT = TypeVar("ModelT", StepRecord, Outcome)
Opened = dict[tuple[str, str], tuple[Artifact | None, str]]

KINDS = {
    "ingest": ("dataset",),
    "tune": ("tuned",),
    "train": ("model",),
    "gate": ("verdict",),
    "compile": ("compiled-model",),
    "deploy": ("deployment",),
    "monitor": ("drift",),
}


@dataclass(frozen=True)
class StepEvidence:
    """One step of a run.

    Attributes:
        record: the last record of that step; earlier ones were retries.
        attempts: how often the step was started.
        artifact: what it committed, every file verified; None when there is nothing to trust.
        problem: why there is no artifact, in one sentence; empty when there is one.
    """

    record: StepRecord
    attempts: int = 1
    artifact: Artifact | None = None
    problem: str = ""

    @property
    def part(self) -> str:
        """The step's package: "gate" for "gate-trained"."""
        return self.record.name.split("-", maxsplit=1)[0]

    def has(self, name: str) -> bool:
        """Whether the artifact's manifest names the file."""
        return self.artifact is not None and any(entry.path == name for entry in self.artifact.manifest.files)

    def read(self, name: str, view: type[ViewT]) -> ViewT | None:
        """The JSON file as a view; None when it is absent or not a JSON object."""
        return self.read_as(name, TypeAdapter(view))

    def read_as(self, name: str, shape: TypeAdapter[ShapeT]) -> ShapeT | None:
        """The JSON file in the given shape; None when it is absent or has another shape."""
        if self.artifact is None or not self.has(name):
            return None
        try:
            return shape.validate_json(self.artifact.file(name).read_bytes())
        except (ValidationError, OSError):
            return None


@dataclass(frozen=True)
class RunEvidence:
    """Everything that is known about one run.

    Attributes:
        run_id: the run.
        steps: the last attempt at each step, in the order in which they started.
        outcomes: how the run ended.
        problems: names the records that could not be read.
        attempts: the records of all attempts; each one cost something.
    """

    run_id: str
    steps: tuple[StepEvidence, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    problems: tuple[str, ...] = ()
    attempts: tuple[StepRecord, ...] = ()

    def step(self, name: str) -> StepEvidence | None:
        """The step of that name, or None when the run did not reach it."""
        return next((step for step in self.steps if step.record.name == name), None)

    @property
    def finished_at(self) -> float:
        """When the last step ended, in Unix seconds; 0 without steps."""
        return max((step.record.started_at + step.record.seconds for step in self.steps), default=0.0)


def read_runs(store: StoreConfig, run_ids: Iterable[str], *, scratch: Path) -> list[RunEvidence]:
    """The evidence of each run, in the given order; a run that left nothing has no steps. Each artifact is fetched and hashed once.

    Args:
        store: where the runs' records are, a folder or ``s3://bucket/prefix``.
        run_ids: the runs.
        scratch: takes the artifacts that are on S3; the evidence can be read as long as it is there.
    """
    opened: Opened = {}
    return [_read_run(store, run_id, opened, scratch) for run_id in run_ids]


def _read_run(store: StoreConfig, run_id: str, opened: Opened, scratch: Path) -> RunEvidence:
    kept = open_store(f"{store.runs}/{run_id}")
    records, record_problems = _read_each(kept, "steps/", StepRecord)
    outcomes, outcome_problems = _read_each(kept, "outcome/", Outcome)
    ordered = sorted(records, key=lambda record: record.started_at)
    last = {record.name: record for record in ordered}
    attempts = {name: sum(record.name == name for record in ordered) for name in last}
    steps = tuple(_step(record, attempts[record.name], opened, scratch) for record in last.values())
    return RunEvidence(run_id, steps, tuple(outcomes), tuple(record_problems + outcome_problems), tuple(ordered))


def _read_each(kept: ObjectStore, folder: str, model: type[ModelT]) -> tuple[list[ModelT], list[str]]:
    """One damaged file must not hide the others, so each is parsed by itself."""
    found: list[ModelT] = []
    problems: list[str] = []
    for key in (key for key in kept.list(folder) if key.endswith(".json")):
        try:
            found.append(model.model_validate_json(kept.read(key)))
        except (ValidationError, OSError, DataError):
            problems.append(f"{key} cannot be read")
    return found, problems


def _step(record: StepRecord, attempts: int, opened: Opened, scratch: Path) -> StepEvidence:
    part = record.name.split("-", maxsplit=1)[0]
    if record.status != "done":
        return StepEvidence(record, attempts, problem=record.error or "the step did not finish")
    if part not in KINDS or not record.folder:
        return StepEvidence(record, attempts, problem="the step names no artifact")
    key = (record.folder, part)
    if key not in opened:
        opened[key] = _open(record.folder, part, scratch)
    artifact, problem = opened[key]
    if artifact is not None and artifact.digest != record.digest:
        return StepEvidence(record, attempts, problem=f"{record.folder} is not what the step made: its digest differs from the record")
    return StepEvidence(record, attempts, artifact, problem)


def _open(folder: str, part: str, scratch: Path) -> tuple[Artifact | None, str]:
    try:
        return open_artifact(fetch_artifact(folder, scratch), KINDS[part]), ""
    except (DataError, EnvironmentFault, TemporaryError, OSError) as error:
        return None, str(error)
