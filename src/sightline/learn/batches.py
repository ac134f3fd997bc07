"""The order of images: the same for every number of processes, from the seed and the epoch alone."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError

Rows = npt.NDArray[np.int64]


class TrainingOrder:
    """The batches of one process in one epoch: each process takes its share of every global batch.

    All processes get the same number of batches of the same size, as distributed training needs; images that do not fill a batch sit this
    epoch out, other ones each time. Fewer images than ``batch_size`` make one smaller batch.

    Args:
        rows: row numbers of the images, shared by all processes.
        batch_size: images per optimiser step over all processes.
        seed: decides the order, with the epoch.
        rank: number of this process.
        world: number of processes.

    Raises:
        DataError: fewer images than processes.
    """

    def __init__(self, rows: Rows, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        if len(rows) < world:
            raise DataError(
                f"{len(rows)} training images cannot be shared by {world} processes", remedy="add images or lower train.num_processes"
            )
        self.epoch = 0
        self._rows = rows
        self._seed = seed
        self._rank = rank
        self._world = world
        self._share = max(1, min(batch_size, len(rows)) // world)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration has."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._rows) // (self._share * self._world)

    def __iter__(self) -> Iterator[Rows]:
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._rows)
        for step in range(len(self)):
            start = (step * self._world + self._rank) * self._share
            yield order[start : start + self._share]


class ValidationOrder:
    """The images of one process, each exactly once over all processes, in batches of at most ``batch_size``."""

    def __init__(self, rows: Rows, *, batch_size: int, rank: int = 0, world: int = 1) -> None:
        mine = rows[rank::world]
        self._batches = [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Rows]:
        return iter(self._batches)
