"""Distributed training."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def train(
    dataset: Input[Dataset],
    tuned: Input[Artifact],
    train: dict,
    epochs: int,
    num_nodes: int,
    gpus: str,
    cluster: dict,
    store: dict,
    run_id: str,
    model: Output[Model],
    metrics: Output[Metrics],
) -> str:
    """Trains a network with PyTorch Lightning, one process per device; never reads the golden set.

    Args:
        dataset: A dataset version.
        tuned: The parameters that the tune step found.
        train: The train section of the configuration, without epochs and num_nodes.
        epochs: Passes over the training images.
        num_nodes: Nodes that train together.
        gpus: GPUs of this pod, for the cost of the step.
        cluster: The cluster section of the configuration.
        store: Where the run keeps its things.
        run_id: The run that this belongs to.

    Returns:
        model: A bundle with weights, classes and preprocessing.
        metrics: Validation accuracy and loss.
        Output: Always "done".
    """
    from sightline.cluster import pool
    from sightline.config.run import ClusterConfig, StoreConfig, TrainConfig
    from sightline.train import step

    pool.held(gpus)
    done = step.run(
        dataset=dataset.path,
        tuned=tuned.path,
        config=TrainConfig(epochs=epochs, num_nodes=num_nodes, **train),
        cluster=ClusterConfig(**cluster),
        store=StoreConfig(**store),
        run_id=run_id,
        output=model.path,
    )
    return done.publish(metrics=metrics.metadata)
