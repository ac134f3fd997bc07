"""The search for training parameters."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def tune(
    dataset: Input[Dataset],
    tune: dict,
    train: dict,
    epochs: int,
    num_nodes: int,
    gpus: str,
    cluster: dict,
    store: dict,
    run_id: str,
    tuned: Output[Artifact],
    metrics: Output[Metrics],
) -> str:
    """Searches learning rate, weight decay and augmentation on the training and validation splits.

    Args:
        dataset: A dataset version.
        tune: The tune section of the configuration.
        train: The train section without epochs and num_nodes: the starting point, and what is not searched.
        epochs: Passes over the training images of the final training.
        num_nodes: Nodes of the final training.
        gpus: GPUs of this pod, for the cost of the step.
        cluster: The cluster section of the configuration.
        store: Where the run keeps its things.
        run_id: The run that this belongs to.

    Returns:
        tuned: The best training parameters and all trials.
        metrics: Best and untuned validation accuracy.
        Output: Always "done".
    """
    from sightline.cluster import pool
    from sightline.config.run import ClusterConfig, StoreConfig, TrainConfig, TuneConfig
    from sightline.tune import step

    pool.held(gpus)
    done = step.run(
        dataset=dataset.path,
        config=TuneConfig(**tune),
        train=TrainConfig(epochs=epochs, num_nodes=num_nodes, **train),
        cluster=ClusterConfig(**cluster),
        store=StoreConfig(**store),
        run_id=run_id,
        output=tuned.path,
    )
    return done.publish(metrics=metrics.metadata)
