"""How a run ended: exactly one of promoted, rejected, rolled-back, kept beside its records."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sightline.config.store import StoreConfig
from sightline.store.artifact import write_file

OutcomeKind = Literal["promoted", "rejected", "rolled-back"]


class Outcome(BaseModel):
    """The end of a run and the reason in one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: OutcomeKind
    reason: str


def record_outcome(store: StoreConfig, run_id: str, outcome: Outcome) -> None:
    """Keeps the outcome; a second one of another kind is kept too, so that the contradiction is seen at the end of the run."""
    write_file(Path(store.runs) / run_id / "outcome" / f"{outcome.kind}.json", outcome.model_dump_json().encode())


def read_outcomes(store: StoreConfig, run_id: str) -> list[Outcome]:
    """All outcomes of a run; a healthy finished run has exactly one."""
    folder = Path(store.runs) / run_id / "outcome"
    return [Outcome.model_validate_json(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
