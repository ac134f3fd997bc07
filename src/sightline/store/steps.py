"""Runs one step: looks its key up, does the work once, commits the folder, records what happened."""

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sightline.config.store import StoreConfig
from sightline.errors import DataError, UsageError
from sightline.store.artifact import Artifact
from sightline.store.cache import open_cache
from sightline.store.code import code_digest
from sightline.store.digest import sha256_value
from sightline.store.records import Recorder, permanent_failure

Progress = Callable[[str], None]


class StepResult(BaseModel):
    """What a step has to say besides its files.

    ``outcome`` is a closed word that a pipeline may branch on; ``headline`` is one short line for people; ``metrics`` are finite floats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    outcome: str = "done"
    headline: str
    metrics: dict[str, float] = {}


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
    """The committed artifact and what the step said about it.

    Attributes:
        artifact: its files where the step was told to put them.
        result: what the step said.
        uri: where the artifact is kept, a folder or ``s3://…``; what later steps of other machines take.
    """

    artifact: Artifact
    result: StepResult
    uri: str

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


def run_name(run_id: str) -> str:
    """The run's id; where it is empty, as in a run that was started in Kubeflow's user interface, that of the environment.

    Raises:
        UsageError: neither says it.
    """
    name = run_id or os.environ.get("SIGHTLINE_RUN_ID", "")
    if not name:
        raise UsageError("the run has no name", remedy="give a run id (--run-id, run_id), or set SIGHTLINE_RUN_ID")
    return name


def run_step(step: Step, *, store: StoreConfig, run_id: str, output: Path, work: Callable[[Path, Progress], StepResult]) -> StepOutput:
    """The step's committed output, from the cache when the same step was done before.

    Args:
        step: what to run; its key is the digest of kind, code, inputs and config, wherever the store is.
        store: where the cache and the run's records are, each a folder or ``s3://bucket/prefix``.
        run_id: the run that this belongs to.
        output: where the artifact folder is put for the next step to read.
        work: writes the artifact's files into the given empty folder; told apart from a crash by its return value.

    Raises:
        SightlineError: as ``work`` raised it; the record of the step says so too. A DataError or UsageError of ``work`` is raised again
            without doing the work when the same run asks for the same step again.
    """
    code = code_digest(step.module)
    key = sha256_value({"kind": step.kind, "code": code, "inputs": dict(step.inputs), "config": dict(step.config), "seed": step.seed})
    if (failure := permanent_failure(store.runs, run_id, name=step.name, key=key)) is not None:
        raise failure
    recorder = Recorder(store.runs, run_id, name=step.name, key=key)
    place = key[:32] if step.reusable else f"{run_id}-{key[:16]}-{uuid.uuid4().hex[:8]}"
    permanent = False

    def write(folder: Path) -> Mapping[str, Any]:
        nonlocal permanent
        try:
            result = work(folder, recorder.progress)
        except (DataError, UsageError):
            permanent = True
            raise
        return {"inputs": dict(step.inputs), "code": code, "config": dict(step.config), "seed": step.seed, "result": result.model_dump()}

    try:
        kept = open_cache(store.cache).obtain(f"{step.name}/{place}", step.kind, output, write)
        result = StepResult.model_validate(kept.artifact.manifest.result)
    except BaseException as error:
        recorder.failed(error, permanent=permanent)
        raise
    recorder.done(cached=kept.reused, folder=kept.uri, digest=kept.artifact.digest, **result.model_dump())
    return StepOutput(kept.artifact, result, kept.uri)
