"""How a run ended: exactly one of promoted, rejected, rolled-back, kept beside its records."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from sightline.config.store import StoreConfig
from sightline.store.objects import open_store

OutcomeKind = Literal["promoted", "rejected", "rolled-back"]


class Outcome(BaseModel):
    """The end of a run and the reason in one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: OutcomeKind
    reason: str


def record_outcome(store: StoreConfig, run_id: str, outcome: Outcome) -> None:
    """Keeps the outcome; a second one of another kind is kept too, so that the contradiction is seen at the end of the run."""
    open_store(store.runs).write(f"{run_id}/outcome/{outcome.kind}.json", outcome.model_dump_json().encode())


def read_outcomes(store: StoreConfig, run_id: str) -> list[Outcome]:
    """All outcomes of a run; a healthy finished run has exactly one."""
    runs = open_store(store.runs)
    return [Outcome.model_validate_json(runs.read(key)) for key in runs.list(f"{run_id}/outcome/") if key.endswith(".json")]
