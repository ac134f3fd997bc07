"""The training of a network as a LightningModule."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sightline.config.train import TrainConfig
from sightline.learn.recipe import Moment, make_optimiser, make_schedule, running_statistics, score, training_loss
from sightline.train.job import Epoch

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule
    from torch import Tensor, nn


def make_module(
    network: "nn.Module", config: TrainConfig, weights_C: "Tensor | None", on_epoch: Callable[[Epoch], None]
) -> "LightningModule":
    """The network with its learning rule and class weights; after each epoch every process hands the same ``Epoch`` to ``on_epoch``."""
    import pytorch_lightning as lightning
    import torch

    class Classifier(lightning.LightningModule):
        """Learns classes; ``network`` is what is trained."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self._train = torch.zeros(2, dtype=torch.float64)
            self._val = torch.zeros(3, dtype=torch.float64)

        def on_train_epoch_start(self) -> None:
            # Drop-out and the like must not depend on what ran before: a resumed epoch is then the one that was interrupted.
            torch.manual_seed(Moment(self.current_epoch, 0, self.global_rank).torch_seed(config.seed))

        def training_step(self, batch: "tuple[Tensor, Tensor]", step: int) -> "Tensor":
            moment = Moment(self.current_epoch, step, self.global_rank)
            loss = training_loss(self.network, batch, config, moment, weights_C)
            self._train += torch.tensor([loss.item(), 1.0], dtype=torch.float64)
            return loss

        def on_validation_epoch_start(self) -> None:
            # Each process has seen other images; with averaged statistics all of them hold, and judge, the one network that is saved.
            for buffer in running_statistics(self.network):
                _sum_over_processes(buffer.div_(self.trainer.world_size))

        def validation_step(self, batch: "tuple[Tensor, Tensor]", _step: int) -> None:
            right, loss = score(self.network, batch)
            self._val += torch.tensor([right, loss, len(batch[1])], dtype=torch.float64)

        def on_validation_epoch_end(self) -> None:
            totals = torch.cat([self._train, self._val]).to(self.device)
            _sum_over_processes(totals)
            train_loss, steps, right, val_loss, num = totals.tolist()
            lr = self.trainer.optimizers[0].param_groups[0]["lr"]
            epoch = Epoch(
                epoch=self.current_epoch + 1, train_loss=train_loss / steps, val_loss=val_loss / num, val_accuracy=right / num, lr=lr
            )
            on_epoch(epoch)
            self._train.zero_()
            self._val.zero_()

        def configure_optimizers(self) -> Any:
            optimiser = make_optimiser(self.network, config)
            schedule = make_schedule(optimiser, int(self.trainer.estimated_stepping_batches))
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return Classifier()


def _sum_over_processes(tensor: "Tensor") -> None:
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(tensor)
