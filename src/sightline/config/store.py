"""Where a run keeps its things."""

from sightline.config.base import Section


class StoreConfig(Section):
    """The places a run reads and writes; all are created when needed."""

    cache: str = "runs/store"
    """Finished steps by key; safe to delete, then they run again."""
    registry: str = "runs/registry"
    """The promotion ledger, the frozen golden set and the count of looks at it. Never delete this for a model in production."""
    runs: str = "runs"
    """One folder per run: step records, report, summary."""
    jobs: str = "runs/jobs"
    """What the processes of a job on several machines hand to each other: inputs, events, checkpoints; safe to delete when no job runs."""
    tracking: str = "sqlite:///runs/mlflow.db"
    """MLflow tracking URI (sqlite:/// or http(s)://)."""
