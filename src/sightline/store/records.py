"""The records of a run: one per step and attempt, kept beside each other in ``<runs>/<run id>/steps``."""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import DataError, EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.store.objects import LocalStore, open_store

# A request per line of progress would slow short epochs down; nobody watches a bucket more often.
_REMOTE_PROGRESS_EVERY_S = 5.0


class StepRecord(BaseModel):
    """One attempt at a step: written when it starts, again while it works, and once more when it ends.

    Attributes:
        folder: where the committed artifact is, a folder or ``s3://…``.
        key: what identifies the step's question; equal keys have equal answers.
        permanent: whether the same step would fail in the same way again, so that trying again is of no use.
        pool: the machines that it ran on, as the prices file calls them; empty where nobody said.
        num_gpus: GPUs that it held.
    """

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
    key: str = ""
    permanent: bool = False
    pool: str = ""
    num_gpus: int = 0


class Recorder:
    """Writes the record of one attempt.

    Args:
        runs: a folder or ``s3://bucket/prefix``.
        run_id: the run.
        name: the step.
        key: the step's key.

    Raises:
        UsageError: SIGHTLINE_NUM_GPUS is not a number.
        TemporaryError: the store does not answer.
    """

    def __init__(self, runs: str, run_id: str, *, name: str, key: str) -> None:
        self._store = open_store(runs)
        self._started = time.monotonic()
        self._record = StepRecord(name=name, key=key, started_at=time.time(), **_machine())
        self._key = f"{_folder(run_id)}{time.time_ns()}-{name}.json"
        self._spoke = 0.0
        self._write()

    def progress(self, text: str) -> None:
        """Shows how far the step is. Never stops the work: neither a full disk nor a store that does not answer."""
        if not isinstance(self._store, LocalStore) and time.monotonic() - self._spoke < _REMOTE_PROGRESS_EVERY_S:
            return
        with contextlib.suppress(EnvironmentFault, TemporaryError):
            self._write(progress=text)

    def done(self, **fields: Any) -> None:
        """The step ended well."""
        self._write(status="done", progress="", **fields)

    def failed(self, error: BaseException, *, permanent: bool) -> None:
        """The step ended with an error, which is the one to show even where it cannot be recorded."""
        text = str(error) if not isinstance(error, SystemExit) else f"stopped with exit code {error.code}"
        with contextlib.suppress(EnvironmentFault, TemporaryError):
            self._write(status="failed", error=text or type(error).__name__, exit_code=_exit_code(error), permanent=permanent, progress="")

    def _write(self, **changes: Any) -> None:
        self._spoke = time.monotonic()
        self._record = self._record.model_copy(update={**changes, "seconds": round(self._spoke - self._started, 3)})
        self._store.write(self._key, self._record.model_dump_json(indent=1).encode())


def read_records(steps: str | Path) -> list[StepRecord]:
    """The records of a run in the order in which its steps started; empty when the run has none yet.

    Args:
        steps: ``<runs>/<run id>/steps``, in a folder or on ``s3://``.
    """
    store = open_store(str(steps))
    records = [StepRecord.model_validate_json(store.read(key)) for key in store.list() if key.endswith(".json")]
    return sorted(records, key=lambda record: record.started_at)


def permanent_failure(runs: str, run_id: str, *, name: str, key: str) -> SightlineError | None:
    """The error of an earlier attempt of this run at the same step, if that attempt could not be helped by trying again.

    Kubeflow tries again whatever the exit code is; bad data does not get better by that.
    """
    store = open_store(runs)
    for place in store.list(_folder(run_id)):
        if not place.endswith(f"-{name}.json"):
            continue
        with contextlib.suppress(ValidationError):  # a damaged record forbids nothing
            record = StepRecord.model_validate_json(store.read(place))
            if record.permanent and (record.name, record.key) == (name, key):
                kind = UsageError if record.exit_code == UsageError.exit_code else DataError
                return kind(f"recorded failure of {name}, not tried again in run {run_id}: {record.error}")
    return None


def _folder(run_id: str) -> str:
    return f"{run_id}/steps/"


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SightlineError):
        return error.exit_code
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1


def _machine() -> Mapping[str, Any]:
    text = os.environ.get("SIGHTLINE_NUM_GPUS") or "0"
    if not text.isdigit():
        raise UsageError(f"SIGHTLINE_NUM_GPUS is '{text}', expected a number of GPUs", remedy="set it to 0 or more")
    return {"pool": os.environ.get("SIGHTLINE_POOL", ""), "num_gpus": int(text)}
