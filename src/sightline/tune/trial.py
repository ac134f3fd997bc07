"""One trial: the learning rule of the train step on one thread, without Lightning, whose import would cost each actor 3 s."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.config.train import TrainConfig
from sightline.errors import UsageError
from sightline.learn.batches import Rows, TrainingOrder, ValidationOrder
from sightline.learn.recipe import Moment, class_weights, make_optimiser, make_schedule, score, training_loss
from sightline.models.network import build
from sightline.tune.job import Job, Report

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_VAL_BATCH = 64


def run_trial(job: Job, number: int, report: Callable[[Report], None]) -> None:
    """Trains the job's point ``number`` and reports after each epoch; a loss that is not finite is reported as a failure.

    The same job and number give the same reports.
    """
    import torch

    torch.set_num_threads(1)
    config = job.train_config.model_copy(update={**job.points[number].model_dump(), "epochs": job.config.max_epochs})
    torch.manual_seed(config.seed)
    network = build(job.info, job.preprocessing, pretrained=config.pretrained)
    images = _Images(job)
    weights = class_weights(images.train_labels, len(job.info.classes), config.class_balance)
    order = TrainingOrder(images.train_rows, batch_size=config.batch_size, seed=config.seed)
    optimiser = make_optimiser(network, config)
    schedule = make_schedule(optimiser, len(order) * config.epochs)
    for epoch in range(config.epochs):
        try:
            order.set_epoch(epoch)
            for step, rows in enumerate(order):
                _step(network, images.train(rows), config, Moment(epoch, step), optimiser, weights)
                schedule.step()
        except UsageError as error:
            report(Report(trial=number, epoch=epoch, val_accuracy=None, val_loss=None, failed=error.message))
            return
        accuracy, loss = _validate(network, images)
        report(Report(trial=number, epoch=epoch + 1, val_accuracy=accuracy, val_loss=loss if np.isfinite(loss) else None))


def _step(
    network: "nn.Module",
    batch: "tuple[Tensor, Tensor]",
    config: TrainConfig,
    moment: Moment,
    optimiser: "torch.optim.Optimizer",
    weights_C: "Tensor | None",
) -> None:
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
        loss = training_loss(network, batch, config, moment, weights_C)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _validate(network: "nn.Module", images: "_Images") -> tuple[float, float]:
    network.eval()
    scores = [score(network, images.val(rows)) for rows in ValidationOrder(images.val_rows, batch_size=_VAL_BATCH)]
    network.train()
    right, loss = (sum(column) / len(images.val_rows) for column in zip(*scores, strict=True))
    return right, loss


class _Images:
    def __init__(self, job: Job) -> None:
        self._train_pixels, self._train_labels, self.train_rows = job.train.read()
        self._val_pixels, self._val_labels, self.val_rows = job.val.read()

    @property
    def train_labels(self) -> npt.NDArray[np.int64]:
        return self._train_labels[self.train_rows]

    def train(self, rows: Rows) -> "tuple[Tensor, Tensor]":
        import torch

        return torch.from_numpy(np.ascontiguousarray(self._train_pixels[rows])), torch.from_numpy(self._train_labels[rows])

    def val(self, rows: Rows) -> "tuple[Tensor, Tensor]":
        import torch

        return torch.from_numpy(np.ascontiguousarray(self._val_pixels[rows])), torch.from_numpy(self._val_labels[rows])
