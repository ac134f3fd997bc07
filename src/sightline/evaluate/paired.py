"""What a metric over a set of images must offer so that two models can be compared on resamples of the images."""

from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class PairedMetric(Protocol):
    """A metric in [0, 1], higher is better, of a reference and a candidate on the same N images.

    Everything that is expensive (matching boxes, counting pixels) was done once per image when it was made; ``at`` only adds up.
    """

    @property
    def name(self) -> str:
        """For people: "AP", "AP50", "mIoU", "Dice", "macro F1"."""
        ...

    @property
    def score_name(self) -> str:
        """What ``image_scores`` is, for people: "image F1", "image IoU", "accuracy"."""
        ...

    def __len__(self) -> int:
        """N, the number of images."""
        ...

    def subset(self, rows_M: Ints) -> Self:
        """The same metric on some of the images, in the order of ``rows_M``."""
        ...

    def at(self, weights_BN: npt.NDArray[np.float32]) -> Floats:
        """The metric of both models for B weightings of the images.

        Args:
            weights_BN: how often each image counts, whole numbers from 0.

        Returns:
            Shape (B, 2): reference, candidate; NaN where the metric is not defined (no object, no pixel of any class).
        """
        ...

    def image_scores(self) -> Floats:
        """Shape (2, N): a score in [0, 1] of each image by itself (reference, candidate), NaN where an image says nothing."""
        ...
