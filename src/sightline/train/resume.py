"""Checkpoints in Lightning's terms: one after each epoch by the first process, one that all processes start from."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import TemporaryError
from sightline.learn.child import Emit
from sightline.train.checkpoints import Checkpoint, Checkpoints
from sightline.train.job import Epoch
from sightline.train.state_file import read_state

if TYPE_CHECKING:
    from pytorch_lightning import Callback
    from pytorch_lightning.plugins.io import CheckpointIO

_LOG = logging.getLogger(__name__)


class History:
    """The epochs so far, in every process; the one that is given ``emit`` tells them."""

    def __init__(self, emit: Emit | None) -> None:
        self.epochs: list[Epoch] = []
        self._emit = emit

    def add(self, epoch: Epoch) -> None:
        """Takes the next epoch."""
        self.epochs.append(epoch)
        if self._emit is not None:
            self._emit(epoch.model_dump())


def make_checkpoint_io(checkpoints: Checkpoints) -> "CheckpointIO":
    """What makes Lightning write and read its state through ``checkpoints``, without pickle."""
    from pytorch_lightning.plugins.io import CheckpointIO

    class Safe(CheckpointIO):
        """States as safetensors; ``path`` is only read from."""

        def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
            checkpoints.try_save(len(checkpoint["history"]), checkpoint)

        def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:  # noqa: ARG002
            return read_state(Path(path))

        def remove_checkpoint(self, path: Any) -> None:
            """Nothing: ``Checkpoints`` keeps what it needs."""

    return Safe()


def make_saver(every_epochs: int, history: History, resumed: Checkpoint | None) -> "Callback":
    """Saves the state with its history after every ``every_epochs`` epochs, and makes sure that all processes started from the same one."""
    import torch
    from pytorch_lightning import Callback

    class Saver(Callback):
        """Runs in all processes; the first one writes."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            epoch = resumed.epoch if resumed else 0
            if trainer.world_size > 1:
                epochs = torch.tensor([epoch, -epoch], device=pl_module.device)
                torch.distributed.all_reduce(epochs, op=torch.distributed.ReduceOp.MAX)
                if int(epochs[0]) != -int(epochs[1]):
                    raise TemporaryError(f"the processes found different checkpoints, here that of epoch {epoch}", remedy="try again")
            if resumed and trainer.is_global_zero:
                _LOG.warning("training goes on after epoch %d", epoch)

        def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
            checkpoint["history"] = [epoch.model_dump() for epoch in history.epochs]

        def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
            for epoch in checkpoint["history"]:
                history.add(Epoch.model_validate(epoch))

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
            if (trainer.current_epoch + 1) % every_epochs == 0:
                trainer.save_checkpoint("checkpoint", weights_only=False)

    return Saver()
