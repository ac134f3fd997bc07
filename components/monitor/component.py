"""Drift and what is done about it."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Markdown, Metrics, Output

from components.images import BASE


@dsl.component(base_image=BASE, install_kfp_package=False)
def monitor(
    served: str,
    monitor: dict,
    store: dict,
    run_id: str,
    drift: Output[Artifact],
    page: Output[HTML],
    summary: Output[Markdown],
    metrics: Output[Metrics],
) -> str:
    """Compares the served images with the reference of the model that served them, and decides.

    Args:
        served: Folder of the server's log.
        monitor: The monitor section of the configuration.
        store: Where the run keeps its things.
        run_id: The run that this belongs to.

    Returns:
        drift: Every signal with its test, effect and adjusted p-value.
        page: The decision with histograms.
        summary: The decision as a short table.
        metrics: Drifted signals and the largest effect.
        Output: "wait", "ignore", "label" or "retrain".
    """
    from sightline.config.monitor import MonitorConfig
    from sightline.config.store import StoreConfig
    from sightline.monitor import step

    done = step.run(served=served, config=MonitorConfig(**monitor), store=StoreConfig(**store), run_id=run_id, output=drift.path)
    return done.publish(metrics=metrics.metadata, html=page.path, markdown=summary.path)
