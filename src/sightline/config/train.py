"""Training."""

from typing import Literal

from pydantic import Field

from sightline.config.base import Section

PLACEMENT = frozenset({"launcher", "fall_back", "checkpoint_every_epochs", "num_restarts"})
"""Fields that say where and how safely training runs, not what comes out: they are no part of a step's key."""


class TrainConfig(Section):
    """PyTorch Lightning, distributed data parallel."""

    backbone: str = "compact"
    """`compact` (built in) or `timm/<name>` (needs the timm extra)."""
    width: int = Field(16, ge=4, le=256)
    """Channels of the compact backbone's first layer."""
    pretrained: bool = False
    """Start from published weights (timm backbones only; fetched from their hub)."""
    epochs: int = Field(12, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(32, ge=2)
    """Images per optimiser step, over all processes."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate of the one-cycle schedule."""
    weight_decay: float = Field(1e-3, ge=0)
    """AdamW weight decay."""
    augment: float = Field(0.3, ge=0, le=1)
    """Strength of augmentation, 0 (none) to 1."""
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """Share of the target spread over all classes."""
    class_balance: float = Field(0.0, ge=0, le=1)
    """Weight of rare classes in the loss: 0 counts each image alike, 1 counts each class alike."""
    num_processes: int = Field(2, ge=1)
    """Processes of distributed training on each node (gloo on CPU, NCCL on GPU)."""
    num_nodes: int = Field(1, ge=1)
    """Nodes of distributed training. With `torchrun` the processes of all nodes run on one machine, with the same result."""
    launcher: Literal["torchrun", "trainjob"] = "torchrun"
    """`torchrun`: the step trains where it runs. `trainjob`: it starts a Kubeflow TrainJob and follows it (see the cluster section)."""
    fall_back: bool = False
    """Whether several nodes' processes may run on one machine where the cluster has no TrainJob; one node's always may."""
    checkpoint_every_epochs: int = Field(1, ge=0)
    """Epochs between checkpoints, which a training that was interrupted goes on from; 0 writes none."""
    num_restarts: int = Field(3, ge=0)
    """How often a TrainJob is started again after its nodes were taken away."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Arithmetic of the forward pass; weights stay fp32."""
    warm_start: bool = True
    """Start from the champion's weights when there is a champion with the same classes and network."""
    warm_epochs: int = Field(6, ge=1)
    """Passes when starting from the champion, at most `epochs`: it knows most of it already."""
    warm_lr_share: float = Field(0.3, gt=0, le=1)
    """Share of `lr` used when starting from the champion, so that what it knows is not washed out, in (0, 1]."""
    timeout_s: int = Field(3600, gt=0)
    """Training is stopped after this many seconds."""
    seed: int = 7
    """Seed of initialisation, order and augmentation."""
