"""The end of every run, whatever happened."""

from kfp import dsl
from kfp.dsl import HTML, Output

from components.images import BASE


@dsl.component(base_image=BASE, install_kfp_package=False)
def report(status: dsl.PipelineTaskFinalStatus, store: dict, cluster: dict, run_id: str, page: Output[HTML]) -> str:
    """Writes the evidence pack and fails unless the run ended in exactly one decision.

    Args:
        status: How the run ended, from Kubeflow.
        store: Where the run keeps its things.
        cluster: The cluster section of the configuration; its prices say what the run cost.
        run_id: The run that this belongs to.

    Returns:
        page: The report.
        Output: "promoted", "rejected" or "rolled-back".
    """
    from sightline.config.cluster import ClusterConfig
    from sightline.config.store import StoreConfig
    from sightline.report.conclude import conclude

    done = conclude(
        run_id=run_id,
        state=status.state,
        error=status.error_message or "",
        store=StoreConfig(**store),
        page=page.path,
        cluster=ClusterConfig(**cluster),
    )
    return done.status
