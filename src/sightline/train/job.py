"""What a training process is told: one JSON file, train and validation images only."""

from pydantic import BaseModel, ConfigDict

from sightline.config.train import TrainConfig
from sightline.learn.packed import Packed
from sightline.models.bundle import BundleInfo, Preprocessing


class Job(BaseModel):
    """One training.

    Attributes:
        config: resolved parameters.
        info: the network.
        preprocessing: the normalisation that is part of the network.
        train: images to learn from.
        val: images to report accuracy on.
        initial: path of the weights to start from; empty: initialised from the seed.
        scratch: folder for events and the resulting weights.
        key: digest of all that decides the result; a checkpoint of another key is never used.
        place: where the job's checkpoints are, a folder or ``s3://…``; empty: there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    config: TrainConfig
    info: BundleInfo
    preprocessing: Preprocessing
    train: Packed
    val: Packed
    initial: str
    scratch: str
    key: str = ""
    place: str = ""


class Epoch(BaseModel):
    """One line of ``history.json``; it holds no times, so that equal trainings give equal files.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the epoch, with augmentation and label smoothing.
        val_loss: cross-entropy without either.
        val_accuracy: share of right answers, in [0, 1], in 32-bit floats.
        lr: learning rate of the last step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    lr: float
