"""Drift of what was served, the decision, and the retraining where it is allowed."""

from kfp import dsl

import components
from pipelines._parameters import DEFAULT, parameters
from pipelines._placement import place

_DEFAULT = parameters("monitor", DEFAULT)
_DAY_S, _HOUR_S = 24 * 3600, 3600


@dsl.pipeline(
    name="monitor",
    description="Compares served images with the champion's reference and decides: wait, ignore, label or retrain.",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=_DAY_S, active_deadline_seconds=_HOUR_S),
)
def monitor(
    run_id: str = "",
    served: str = _DEFAULT["served"],
    on_drift: str = _DEFAULT["on_drift"],
    monitor: dict = _DEFAULT["monitor"],
    retrain: dict = _DEFAULT["retrain"],
    store: dict = _DEFAULT["store"],
):
    """One look; its decision starts at most one retrain run, and only where that is switched on."""
    run = {"store": store, "run_id": run_id}
    look = place(components.monitor(served=served, monitor=monitor, **run), "cpu")

    switched_on = dsl.If(on_drift == "retrain", name="retraining is switched on")
    with switched_on, dsl.If(look.outputs["Output"] == "retrain", name="drift asks for it"):
        place(components.submit(drift=look.outputs["drift"], retrain=retrain, **run), "light")
