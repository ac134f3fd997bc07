"""One process of a training."""

import os
from pathlib import Path
from typing import Any

from sightline.learn.child import Emit
from sightline.learn.recipe import class_weights
from sightline.models.network import build
from sightline.models.weights import load_weights, save
from sightline.store.objects import open_store
from sightline.train.checkpoints import Checkpoint, Checkpoints
from sightline.train.datamodule import make_datamodule
from sightline.train.gradients import make_strategy
from sightline.train.job import Epoch, Job
from sightline.train.module import make_module
from sightline.train.resume import History, make_checkpoint_io, make_saver


def fit(job: Job, emit: Emit) -> list[Epoch]:
    """Trains the job's network and, in the first process, leaves ``weights.safetensors`` in the job's scratch folder; returns the epochs.

    The weights are those of the last epoch, not of the best one: with a one-cycle schedule the learning rate ends near zero, so the last
    epochs differ by less than the error of a validation split of a few hundred images, and picking the luckiest would make the reported
    accuracy too high. A moving average of the weights would repeat what the end of the cycle does already.

    After each epoch (see ``train.checkpoint_every_epochs``) the first process saves a checkpoint; a training that was interrupted goes on
    from the newest one that is whole. On CPUs it ends with the same bytes as one that was not interrupted.

    Under torchrun the process joins its group (gloo on CPU, NCCL where there is a GPU per process); started alone it trains alone. On one
    machine the same job gives the same bytes.

    Raises:
        UsageError: the loss is no longer finite, or the backbone is not known.
        DataError: the initial weights do not fit.
    """
    import torch

    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    torch.manual_seed(job.config.seed)
    network = build(job.info, job.preprocessing, pretrained=job.config.pretrained)
    if job.initial:
        load_weights(network, Path(job.initial))
    _, labels, rows = job.train.read()
    weights = class_weights(labels[rows], len(job.info.classes), job.config.class_balance)
    history = History(emit if rank == 0 else None)
    callbacks, plugins, resumed = _resumption(job, history)
    _trainer(job, world, callbacks, plugins).fit(
        make_module(network, job.config, weights, history.add),
        datamodule=make_datamodule(job, rank=rank, world=world),
        ckpt_path=str(resumed.path) if resumed else None,
    )
    if rank == 0:
        save(Path(job.scratch), network)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return history.epochs


def _resumption(job: Job, history: History) -> tuple[list[Any], list[Any], Checkpoint | None]:
    """Lightning's callbacks and plugins that keep checkpoints, and the checkpoint to start from; nothing where there are to be none."""
    if not job.place or not job.config.checkpoint_every_epochs:
        return [], [], None
    scratch = Path(job.scratch) / f"rank-{os.environ.get('RANK', '0')}"
    scratch.mkdir(exist_ok=True)
    checkpoints = Checkpoints(open_store(job.place), job.key, scratch)
    resumed = checkpoints.newest()
    saver = make_saver(job.config.checkpoint_every_epochs, history, resumed)
    return [saver], [make_checkpoint_io(checkpoints)], resumed


def _trainer(job: Job, world: int, callbacks: list[Any], plugins: list[Any]) -> Any:
    import pytorch_lightning as lightning
    import torch

    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    has_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= local
    return lightning.Trainer(
        callbacks=callbacks,
        plugins=plugins,
        accelerator="gpu" if has_gpus else "cpu",
        devices=local,
        num_nodes=world // local,
        strategy=make_strategy("nccl" if has_gpus else "gloo", world) if world > 1 else "auto",
        precision="bf16-mixed" if job.config.precision == "bf16" else "32-true",
        max_epochs=job.config.epochs,
        default_root_dir=job.scratch,
        deterministic="warn" if has_gpus else None,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
