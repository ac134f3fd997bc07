"""What a deployment leaves behind: ``deployment.json``, and the journal of the canary's states."""

import math
import time
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.store.objects import MissingObjectError, open_store

State = Literal["waiting", "starting", "sentinels", "canary", "promoting", "rolling-back", "promoted", "rolled-back"]
_MAX_LOG = 230.0  # e-values are written as plain numbers; 1e100 is evidence enough


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Moment(_Frozen):
    """The canary at one moment.

    Attributes:
        t: seconds since the servers were started.
        requests: inference requests so far, of both arms.
        canary_share: share of clients that are sent to the canary.
        errors: requests that the canary failed.
        e_values: see ``Judge.evidence``, as plain numbers.
    """

    t: float
    state: State
    requests: int = 0
    canary_requests: int = 0
    canary_share: float = 0.0
    errors: int = 0
    slow: int = 0
    e_values: dict[str, float] = {}


class ArmSummary(_Frozen):
    """What one arm did; latencies are None without requests."""

    requests: int
    errors: int
    slow: int
    p50_ms: float | None
    p95_ms: float | None


class CanarySummary(_Frozen):
    """How the canary went.

    Attributes:
        decision: promote or rollback.
        decided_after_s: seconds of traffic until the decision; 0 when the sentinels decided before any traffic.
        fallbacks: requests that the canary failed and the incumbent answered.
        client_errors: requests for which the client saw an error.
        e_values: at the decision; ``thresholds`` are what they had to reach.
        sentinels: golden images replayed, all rounds together.
        wrong_sentinels: what was wrong with their answers.
    """

    decision: Literal["promote", "rollback"]
    reason: str
    decided_after_s: float = 0.0
    timeline: tuple[Moment, ...] = ()
    arms: dict[str, ArmSummary] = {}
    fallbacks: int = 0
    client_errors: int = 0
    e_values: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    sentinels: int = 0
    wrong_sentinels: tuple[str, ...] = ()


class Deployment(_Frozen):
    """``deployment.json``.

    Attributes:
        outcome: rejected: nobody approved it in time, so nothing was started.
        candidate: digest of the model; ``incumbent`` is that of the model in production before, or "none".
        generation: of the model in production afterwards; 0: there is none.
        registered: the MLflow version, or why it could not be registered; empty when nothing was promoted.
    """

    schema_version: Literal[1] = 1
    outcome: Literal["promoted", "rejected", "rolled-back"]
    reason: str
    candidate: str
    incumbent: str
    generation: int
    canary_share: float
    fault: str
    registered: str = ""
    seconds: float = 0.0
    decided_after_s: float = 0.0
    timeline: tuple[Moment, ...] = ()
    arms: dict[str, ArmSummary] = {}
    fallbacks: int = 0
    client_errors: int = 0
    e_values: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    sentinels: int = 0
    wrong_sentinels: tuple[str, ...] = ()


class JournalEntry(_Frozen):
    """``state.json``: what was about to be done, with which model, against which generation, when (Unix seconds)."""

    state: State
    reason: str
    candidate: str
    expected_generation: int
    at: float


class Journal:
    """The state of one deployment, written before each action, so that what a crash left behind can be read.

    A crash in any state before "promoting" changed nothing; one in "promoting" is settled by the ledger, which names the champion or not;
    one in "rolling-back" is finished by the next run, which does not give the candidate a second chance.

    Args:
        runs: where runs are kept, a folder or ``s3://bucket/prefix``.
        run_id: the run.
        candidate: digest of the model.
        expected_generation: the generation that the model was judged against.
    """

    def __init__(self, runs: str, run_id: str, *, candidate: str, expected_generation: int) -> None:
        self._store = open_store(runs)
        self._key = f"{run_id}/deploy/state.json"
        self._candidate = candidate
        self._expected_generation = expected_generation

    def enter(self, state: State, reason: str = "") -> None:
        """Keeps the intention."""
        entry = JournalEntry(
            state=state, reason=reason, candidate=self._candidate, expected_generation=self._expected_generation, at=time.time()
        )
        self._store.write(self._key, entry.model_dump_json(indent=1).encode())

    def rolled_back(self) -> str:
        """Why this run has decided to roll this candidate back already; empty when it has not."""
        try:
            entry = JournalEntry.model_validate_json(self._store.read(self._key))
        except (MissingObjectError, ValidationError):
            return ""
        same = (entry.candidate, entry.expected_generation) == (self._candidate, self._expected_generation)
        return entry.reason if same and entry.state in {"rolling-back", "rolled-back"} else ""


def plain(logs: Mapping[str, float]) -> dict[str, float]:
    """E-values from their logarithms, kept finite."""
    return {name: float(f"{math.exp(max(-_MAX_LOG, min(_MAX_LOG, value))):.6g}") for name, value in logs.items()}
