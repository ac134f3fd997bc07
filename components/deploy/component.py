"""Canary, promotion, rollback."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Metrics, Model, Output

from components.images import SERVE


@dsl.component(base_image=SERVE, install_kfp_package=False)
def deploy(
    model: Input[Model],
    verdict: Input[Artifact],
    dataset: Input[Dataset],
    deploy: dict,
    cluster: dict,
    store: dict,
    run_id: str,
    deployment: Output[Artifact],
    page: Output[HTML],
    summary: Output[Markdown],
    metrics: Output[Metrics],
) -> str:
    """Serves the model to a share of real requests, judges it, promotes it or rolls it back.

    Args:
        model: The compiled bundle that the gate let pass.
        verdict: That verdict; it is verified again.
        dataset: The dataset version whose images are replayed as requests.
        deploy: The deploy section of the configuration.
        cluster: The cluster section of the configuration.
        store: Where the run keeps its things.
        run_id: The run that this belongs to.

    Returns:
        deployment: The decision with its timeline and evidence.
        page: The canary as a page.
        summary: The canary as a short table.
        metrics: Requests, errors and latency of both models.
        Output: "promoted" or "rolled-back".
    """
    from sightline.config.run import ClusterConfig, DeployConfig, StoreConfig
    from sightline.deploy import step

    done = step.run(
        model=model.path,
        verdict=verdict.path,
        dataset=dataset.path,
        config=DeployConfig(**deploy),
        cluster=ClusterConfig(**cluster),
        store=StoreConfig(**store),
        run_id=run_id,
        output=deployment.path,
    )
    return done.publish(metrics=metrics.metadata, html=page.path, markdown=summary.path)
