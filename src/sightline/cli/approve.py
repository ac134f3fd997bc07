"""`sightline approve`: a person's yes to a verdict, which a deployment that requires it waits for."""

import datetime
import tempfile
from pathlib import Path
from typing import Any

from sightline.errors import UsageError


def approve(verdict: str, *, run_id: str, runs: str, registry: str, who: str, why: str) -> dict[str, Any]:
    """The recorded approval with the verdict's reason.

    Args:
        verdict: folder or ``s3://…`` of a committed verdict; empty with ``run_id``.
        run_id: the run whose verdict on the compiled model is meant.
        runs: where runs are kept.
        registry: a folder or ``s3://bucket/prefix``.
        who: the person who answers for it.
        why: the reason.

    Raises:
        UsageError: not exactly one of verdict and run, no such verdict, or one that lets nothing be deployed.
        DataError: the verdict or the registry is damaged.
    """
    from sightline.evaluate.verdict import read_verified
    from sightline.registry import approvals
    from sightline.store.cache import fetch_artifact

    if bool(verdict) == bool(run_id):
        raise UsageError("give either a verdict or --run", remedy="sightline approve --run RUN_ID --who NAME --why REASON")
    with tempfile.TemporaryDirectory(prefix="sightline-approve-") as scratch:
        judged = read_verified(fetch_artifact(verdict or _of_run(runs, run_id), Path(scratch)))
    made = approvals.approve(_root(registry), judged, who=who, why=why)
    return {**made.model_dump(mode="json"), "about": judged.reason}


def describe(approval: dict[str, Any]) -> str:
    """An approval as lines for a terminal."""
    made = datetime.datetime.fromtimestamp(approval["made_at"], tz=datetime.UTC)
    return (
        f"  approved by {approval['who']} on {made:%Y-%m-%d %H:%M} UTC: {approval['why']}\n"
        f"  model {approval['candidate'][:12]}: {approval['about']}\n"
    )


def _of_run(runs: str, run_id: str) -> str:
    from sightline.store.records import read_records

    records = [record for record in read_records(f"{runs.rstrip('/')}/{run_id}/steps") if record.name == "gate-compiled" and record.folder]
    if not records:
        raise UsageError(f"run {run_id} in {runs} has no verdict on a compiled model", remedy="give --runs as in store.runs")
    return records[-1].folder


def _root(registry: str) -> str:
    return registry if "://" in registry else str(Path(registry).resolve())
