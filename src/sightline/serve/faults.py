"""The rollback drill: ways in which a canary can misbehave, so that a rollback can be rehearsed on a real server."""

import random
import threading
from typing import Literal, get_args

import numpy as np

from sightline.images import ImageU8

FaultKind = Literal["none", "errors", "slow", "preprocessing"]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
ERROR_SHARE = 0.2


class DrillError(Exception):
    """The failure that the drill asks for."""


class Fault:
    """One way to misbehave.

    Args:
        kind: none; errors: every fifth answer on average is a 500; slow: each answer takes ``delay_s`` longer; preprocessing: channels are
            swapped and images are resized without antialiasing, the classic difference between training and serving.
        delay_s: for slow, in seconds.
    """

    def __init__(self, kind: FaultKind, *, delay_s: float) -> None:
        self._kind = kind
        self._random = random.Random(0)  # noqa: S311 - a drill, reproducible on purpose
        self._lock = threading.Lock()
        self.delay_s = delay_s if kind == "slow" else 0.0

    def maybe_fail(self) -> None:
        """Raises DrillError for one answer in five when the kind is errors."""
        if self._kind != "errors":
            return
        with self._lock:
            fails = self._random.random() < ERROR_SHARE
        if fails:
            raise DrillError

    @property
    def spoils_pixels(self) -> bool:
        """Whether ``spoiled`` replaces the proper preprocessing."""
        return self._kind == "preprocessing"

    def spoiled(self, image: ImageU8, size_px: int) -> ImageU8:
        """The image as a careless server would prepare it: BGR, nearest neighbour."""
        rows = np.arange(size_px) * image.shape[0] // size_px
        columns = np.arange(size_px) * image.shape[1] // size_px
        return np.ascontiguousarray(image[rows[:, None], columns[None, :], ::-1])
