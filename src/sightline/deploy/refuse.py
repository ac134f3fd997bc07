"""The end of a candidate that the gate refused: recorded, nothing changes in production."""

from pathlib import Path

from sightline.config.store import StoreConfig
from sightline.errors import DataError
from sightline.store.outcomes import Outcome, record_outcome
from sightline.store.steps import run_name


def run(*, verdict: str, store: StoreConfig, run_id: str) -> str:
    """Records the rejection with the verdict's reason; returns "rejected".

    Raises:
        DataError: the verdict was altered, or it says pass.
    """
    from sightline.evaluate.verdict import read_verified

    run_id = run_name(run_id)
    found = read_verified(Path(verdict))
    if found.outcome == "pass":
        raise DataError("the verdict says pass, so this candidate must not be rejected", remedy="look for a branch that was taken wrongly")
    record_outcome(store, run_id, Outcome(kind="rejected", reason=found.reason))
    return "rejected"
