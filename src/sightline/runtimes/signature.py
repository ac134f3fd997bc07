"""What goes into and comes out of every compiled variant, whichever runtime answers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.runtimes.base import Prediction

INPUT = "images"
OUTPUTS = ("logits", "embedding")


@dataclass(frozen=True)
class Signature:
    """The sizes of a network: its square input in pixels, its classes, its embedding."""

    size_px: int
    num_classes: int
    embedding_dim: int

    def check(self, images_NHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The images, contiguous; raises DataError when they are not uint8 [N, size, size, 3]."""
        expected = (self.size_px, self.size_px, 3)
        if images_NHWC.dtype != np.uint8 or images_NHWC.ndim != 4 or images_NHWC.shape[1:] != expected:
            came = f"{images_NHWC.dtype} {list(images_NHWC.shape)}"
            raise DataError(f"the model takes uint8 images of shape [N, {self.size_px}, {self.size_px}, 3], came {came}")
        return np.ascontiguousarray(images_NHWC)

    def empty(self) -> Prediction:
        """The answer to no images."""
        return self.prediction(np.empty((0, self.num_classes), np.float32), np.empty((0, self.embedding_dim), np.float32))

    def prediction(self, logits_NC: npt.NDArray[np.float32], embeddings_ND: npt.NDArray[np.float32]) -> Prediction:
        """The softmax of the logits beside a copy of the embeddings, so that a runtime may hand over its own buffers."""
        return Prediction(softmax(logits_NC), np.array(embeddings_ND, dtype=np.float32))


def softmax(logits_NC: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities over the last axis, float32; safe for large logits and for no rows."""
    powers: npt.NDArray[np.float32] = np.exp(logits_NC - logits_NC.max(axis=-1, keepdims=True, initial=-np.inf), dtype=np.float32)
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers
