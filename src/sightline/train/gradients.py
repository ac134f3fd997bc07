"""How the gradients of several processes become one."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from pytorch_lightning.strategies import DDPStrategy
    from torch import Tensor


def make_strategy(backend: str, world: int) -> "DDPStrategy":
    """Distributed data parallel over ``world`` processes with the backend (gloo or nccl); with gloo the same job gives the same bytes."""
    from pytorch_lightning.strategies import DDPStrategy

    class Ordered(DDPStrategy):
        """Adds gradients in the order of the processes."""

        def configure_ddp(self) -> None:
            super().configure_ddp()
            # Lightning registers hooks only for GPUs; torch refuses one whose annotations are not its own classes, hence the lambda.
            model: Any = self.model
            model.register_comm_hook(None, lambda _state, bucket: mean_in_order(bucket))

    # Buffers are averaged once per epoch by the module; sending them before every step would cost a collective each.
    settings: dict[str, Any] = {"process_group_backend": backend, "forward_sync_buffers": False, "gradient_as_bucket_view": True}
    return Ordered(**settings) if backend == "gloo" and world > 2 else DDPStrategy(**settings)


def mean_in_order(bucket: Any) -> "torch.futures.Future[Tensor]":
    """The mean of a bucket over all processes, for ``DistributedDataParallel`` as a communication hook.

    gloo's all-reduce adds the parts of a buffer in different orders, and a training arranges its buffers anew after its first step: with
    three or more processes a resumed training would differ from one that was not interrupted, at first in the last bit of a sum. Two
    numbers have only one sum, so two processes keep the built-in way, which sends less: two buckets, here one per other process.
    """
    import torch

    mine: Tensor = bucket.buffer()
    parts = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
    gathering = torch.distributed.all_gather(parts, mine, async_op=True)

    def mean(_done: Any) -> "Tensor":
        total = mine.copy_(parts[0])
        for part in parts[1:]:
            total.add_(part)
        return total.div_(len(parts))

    future: torch.futures.Future[Tensor] = gathering.get_future().then(mean)
    return future
