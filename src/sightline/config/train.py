"""Training."""

from typing import Literal

from pydantic import Field

from sightline.config.base import Section


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
    """Processes of distributed training (gloo on CPU, NCCL on GPU)."""
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
