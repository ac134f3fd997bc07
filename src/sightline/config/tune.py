"""The search for training parameters."""

from typing import Literal

from pydantic import Field

from sightline.config.base import Section

PLACEMENT = frozenset({"launcher", "fall_back", "num_restarts"})
"""Fields that say where the search runs, not what comes out: they are no part of a step's key."""


class TuneConfig(Section):
    """Ray Tune with ASHA over learning rate, weight decay and augmentation."""

    enabled: bool = True
    """False: train with the values in the train section."""
    num_trials: int = Field(5, ge=1)
    """Trials in the search."""
    max_epochs: int = Field(6, ge=1)
    """Epochs of a trial that is never stopped early."""
    grace_epochs: int = Field(3, ge=1)
    """Epochs every trial gets."""
    train_share: float = Field(0.7, gt=0, le=1)
    """Share of the training images that trials see."""
    num_concurrent: int = Field(2, ge=1)
    """Trials at a time."""
    lr_range: tuple[float, float] = (1.5e-3, 8e-3)
    """Learning rates, log-uniform."""
    weight_decay_range: tuple[float, float] = (1e-5, 1e-2)
    """Weight decays, log-uniform."""
    augment_choices: tuple[float, ...] = (0.15, 0.3, 0.6)
    """Strengths of augmentation, 0 (none) to 1."""
    launcher: Literal["pod", "rayjob"] = "pod"
    """`pod`: Ray runs where the step runs, or in the cluster that RAY_ADDRESS names. `rayjob`: a KubeRay RayJob is started and followed."""
    fall_back: bool = True
    """Whether the search may run in the step's own pod where the cluster has no RayJob."""
    num_restarts: int = Field(3, ge=0)
    """How often a RayJob is started again after its machines were taken away; trials that were over are not repeated."""
    timeout_s: int = Field(1800, gt=0)
    """The search is ended after this many seconds."""
    seed: int = 7
    """Seed of the search."""
