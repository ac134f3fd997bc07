"""Runs one step: looks its key up, does the work once, commits the folder, records what happened."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sightline.config.store import StoreConfig
from sightline.errors import EnvironmentFault, SightlineError
from sightline.store.artifact import MANIFEST, Artifact, commit_artifact, materialise, open_artifact, write_file
from sightline.store.code import code_digest
from sightline.store.digest import sha256_value

Progress = Callable[[str], None]


class StepResult(BaseModel):
    """What a step has to say besides its files.

    ``outcome`` is a closed word that a pipeline may branch on; ``headline`` is one short line for people; ``metrics`` are finite floats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    outcome: str = "done"
    headline: str
    metrics: dict[str, float] = {}


class StepRecord(BaseModel):
    """One line of a run: written when the step starts, again while it works, and once more when it ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    started_at: float
    seconds: float = 0.0
    status: Literal["running", "done", "failed"] = "running"
    cached: bool = False
    progress: str = ""
    outcome: str = ""
    headline: str = ""
    metrics: dict[str, float] = {}
    folder: str = ""
    digest: str = ""
    error: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Step:
    """What identifies one execution of a step.

    Attributes:
        name: as the run shows it ("train", "gate-trained").
        kind: the kind of artifact it makes.
        module: dotted name whose code, with all it imports, is part of the key.
        inputs: digests of everything read.
        config: the resolved configuration that it reads, nothing else.
        reusable: False for steps that act on the world or read the clock; they run every time.
    """

    name: str
    kind: str
    module: str
    inputs: Mapping[str, str]
    config: Mapping[str, Any]
    seed: int | None = None
    reusable: bool = True


@dataclass(frozen=True)
class StepOutput:
    """The committed artifact and what the step said about it."""

    artifact: Artifact
    result: StepResult

    def publish(self, *, metrics: dict[str, Any], html: str = "", markdown: str = "") -> str:
        """Hands scalars and pages to Kubeflow's artifacts; returns the outcome.

        Args:
            metrics: the metadata dict of the step's Metrics artifact.
            html: where the step's ``report.html`` goes, if it has one.
            markdown: where the step's ``summary.md`` goes, if it has one.
        """
        metrics.update(self.result.metrics)
        for name, target in (("report.html", html), ("summary.md", markdown)):
            if target:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(target).write_bytes(self.artifact.file(name).read_bytes())
        return self.result.outcome


def run_step(step: Step, *, store: StoreConfig, run_id: str, output: Path, work: Callable[[Path, Progress], StepResult]) -> StepOutput:
    """The step's committed output, from the cache when the same step was done before.

    Args:
        step: what to run; its key is the digest of kind, code, inputs and config.
        store: where the cache and the run's records are.
        run_id: the run that this belongs to.
        output: where the artifact folder is put for the next step to read.
        work: writes the artifact's files into the given empty folder; told apart from a crash by its return value.

    Raises:
        SightlineError: as ``work`` raised it; the record of the step says so too.
    """
    code = code_digest(step.module)
    key = sha256_value({"kind": step.kind, "code": code, "inputs": dict(step.inputs), "config": dict(step.config), "seed": step.seed})
    target = Path(store.cache) / step.name / (key[:32] if step.reusable else f"{run_id}-{key[:16]}-{uuid.uuid4().hex[:8]}")
    recorder = _Recorder(Path(store.runs) / run_id / "steps", step.name)
    cached = step.reusable and (target / MANIFEST).is_file()

    def write(folder: Path) -> Mapping[str, Any]:
        result = work(folder, recorder.progress)
        return {"inputs": dict(step.inputs), "code": code, "config": dict(step.config), "seed": step.seed, "result": result.model_dump()}

    try:
        artifact = commit_artifact(target, step.kind, write)
        materialise(artifact, output)
        result = StepResult.model_validate(artifact.manifest.result)
    except BaseException as error:
        recorder.failed(error)
        raise
    recorder.done(artifact, result, cached=cached)
    return StepOutput(open_artifact(output, step.kind), result)


def read_records(folder: Path) -> list[StepRecord]:
    """The records of a run in the order in which its steps started; empty when the run has none yet."""
    records = [StepRecord.model_validate_json(path.read_bytes()) for path in _record_files(folder)]
    return sorted(records, key=lambda record: record.started_at)


def _record_files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.glob("*.json") if not path.name.startswith("."))


class _Recorder:
    def __init__(self, folder: Path, name: str) -> None:
        self._started = time.monotonic()
        self._record = StepRecord(name=name, started_at=time.time())
        self._path = folder / f"{time.time_ns()}-{name}.json"
        self._write()

    def progress(self, text: str) -> None:
        with contextlib.suppress(EnvironmentFault):  # a full disk for records must not stop the work
            self._write(progress=text)

    def done(self, artifact: Artifact, result: StepResult, *, cached: bool) -> None:
        fields = {"folder": str(artifact.folder), "digest": artifact.digest, "cached": cached, "progress": ""}
        self._write(status="done", outcome=result.outcome, headline=result.headline, metrics=result.metrics, **fields)

    def failed(self, error: BaseException) -> None:
        code = error.exit_code if isinstance(error, SightlineError) else 1
        with contextlib.suppress(EnvironmentFault):  # the step's own error is the one to show
            self._write(status="failed", error=str(error) or type(error).__name__, exit_code=code, progress="")

    def _write(self, **changes: Any) -> None:
        self._record = self._record.model_copy(update={**changes, "seconds": round(time.monotonic() - self._started, 3)})
        write_file(self._path, self._record.model_dump_json(indent=1).encode())
