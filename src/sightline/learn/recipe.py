"""The learning rule: loss, optimiser, schedule, and the accuracy that is reported."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.config.train import TrainConfig
from sightline.errors import UsageError
from sightline.learn.augment import augment

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_WARM_UP = 0.25
_START = 0.1
_END = 1e-3


def one_cycle(step: int, total_steps: int) -> float:
    """The learning rate of a step as a share of its peak: cosine from 0.1 to 1 over a quarter of the steps, then cosine to 0.001.

    Source: Smith & Topin, Super-Convergence, arXiv 1708.07120; like ``torch.optim.lr_scheduler.OneCycleLR``, which divides by zero when the
    whole training has very few steps.
    """
    last = max(total_steps - 1, 1)
    peak = _WARM_UP * last
    if step < peak:
        return _cosine(_START, 1.0, step / peak)
    return _cosine(1.0, _END, min((step - peak) / (last - peak), 1.0))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0


def make_optimiser(network: "nn.Module", config: TrainConfig) -> "torch.optim.AdamW":
    """AdamW; biases and batch norm parameters do not decay."""
    import torch

    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def make_schedule(optimiser: "torch.optim.Optimizer", total_steps: int) -> "torch.optim.lr_scheduler.LambdaLR":
    """The one-cycle schedule; to be advanced after every optimiser step."""
    import torch

    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle(step, total_steps))


@dataclass(frozen=True)
class Moment:
    """Where in training a step is, counted from 0; its randomness depends on nothing that ran before it."""

    epoch: int
    step: int
    rank: int = 0

    def rng(self, seed: int) -> np.random.Generator:
        """The generator of this step."""
        return np.random.default_rng([seed, self.epoch, self.step, self.rank])

    def torch_seed(self, seed: int) -> int:
        """The seed for what torch draws by itself, in [0, 2^63)."""
        return int(self.rng(seed).integers(2**63))


def class_weights(labels_N: npt.NDArray[np.int64], num_classes: int, balance: float) -> "Tensor | None":
    """The weight of each class in the loss, its count to the power of ``-balance``, with mean 1 over the images; None at balance 0.

    A class without training images gets the weight 0: it is never a target.
    """
    import torch

    if not balance:
        return None
    counts = np.bincount(labels_N, minlength=num_classes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -balance, 0.0)
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


def training_loss(
    network: "nn.Module", batch: "tuple[Tensor, Tensor]", config: TrainConfig, moment: Moment, weights_C: "Tensor | None" = None
) -> "Tensor":
    """The loss of one augmented batch; the caller chooses the precision with autocast.

    Args:
        network: in training mode.
        batch: uint8 images and labels.
        config: strength of augmentation, label smoothing, seed.
        moment: where in training this is.
        weights_C: see ``class_weights``.

    Raises:
        UsageError: the loss is not a finite number, which names the step: the learning rate is too high for this network.
    """
    import torch

    images, labels = batch
    logits, _ = network(augment(images, config.augment, moment.rng(config.seed)))
    weights = None if weights_C is None else weights_C.to(logits.device)
    loss = torch.nn.functional.cross_entropy(logits.float(), labels, weights, label_smoothing=config.label_smoothing)
    if not bool(torch.isfinite(loss)):
        raise UsageError(
            f"the loss became {loss.item()} in step {moment.step + 1} of epoch {moment.epoch + 1}",
            remedy=f"lower train.lr (it is {config.lr:g}) or set train.precision=fp32",
        )
    return loss


def score(network: "nn.Module", batch: "tuple[Tensor, Tensor]") -> tuple[int, float]:
    """Right answers and summed cross-entropy of a batch, in 32-bit floats like the ``eager`` runtime, whatever the training precision.

    The network has to be in eval mode.
    """
    import torch

    images, labels = batch
    with torch.inference_mode(), torch.autocast(images.device.type, enabled=False):
        logits, _ = network(images)
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return int((logits.argmax(dim=1) == labels).sum()), float(loss)


def running_statistics(network: "nn.Module") -> "Iterator[Tensor]":
    """The means and variances that batch norms keep; distributed training averages them over its processes."""
    return (buffer for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var")))
