"""Drift of what was served, and the decision."""

from kfp import dsl

import components
from pipelines._placement import place
from sightline.config.run import RunConfig

_DEFAULT = RunConfig().model_dump(mode="json", exclude_none=True)


@dsl.pipeline(
    name="monitor", description="Compares served images with the champion's reference and decides: wait, ignore, label or retrain."
)
def monitor(run_id: str, served: str, monitor: dict = _DEFAULT["monitor"], store: dict = _DEFAULT["store"]):
    """One step; its decision is what the next round starts from."""
    place(components.monitor(served=served, monitor=monitor, store=store, run_id=run_id))
