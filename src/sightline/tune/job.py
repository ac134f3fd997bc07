"""What the search process is told and what it answers."""

from pydantic import BaseModel, ConfigDict

from sightline.config.train import TrainConfig
from sightline.config.tune import TuneConfig
from sightline.learn.packed import Packed
from sightline.models.bundle import BundleInfo, Preprocessing
from sightline.tune.space import Point


class Job(BaseModel):
    """One search: everything but the point is the same in all trials.

    Attributes:
        points: one trial each, in this order.
        scratch: folder for events.
        ray_folder: short path (sockets allow 107 characters) for all that Ray writes.
        place: where the journal is, a folder or ``s3://…``; empty: there is none.
        shared: address and SHA-256 of this job where trials on other machines fetch it from; None: they read this machine's files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    config: TuneConfig
    train_config: TrainConfig
    points: tuple[Point, ...]
    info: BundleInfo
    preprocessing: Preprocessing
    train: Packed
    val: Packed
    scratch: str
    ray_folder: str
    place: str = ""
    shared: tuple[str, str] | None = None


class Report(BaseModel):
    """What a trial says after each epoch (counted from 1), or why it failed (``epoch`` is then the last good one).

    ``over`` marks the last report of a trial, which ended, was stopped or failed; it repeats the numbers of the one before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    trial: int
    epoch: int
    val_accuracy: float | None
    val_loss: float | None
    failed: str = ""
    over: bool = False


class Trial(BaseModel):
    """One line of ``trials.json``; trial 0 has the train section's own parameters.

    ``val_accuracy`` is the one after the trial's last epoch; null for a trial that failed, and ``failed`` says why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    trial: int
    lr: float
    weight_decay: float
    augment: float
    epochs: int
    val_accuracy: float | None
    stopped_early: bool
    failed: str = ""
