"""The reference runtime: the network itself in PyTorch, 32-bit floats on the CPU."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.models.bundle import ModelBundle
from sightline.models.weights import load_network
from sightline.runtimes.base import Prediction

if TYPE_CHECKING:
    from torch import nn

# 64 images of 64 px keep the activations inside the cache.
_BATCH = 64


def load(bundle: ModelBundle, variant: str, *, num_threads: int = 1) -> "EagerPredictor":  # noqa: ARG001 - one signature for all runtimes
    """The bundle's weights in PyTorch; every other variant is compared with this one.

    Args:
        bundle: an opened bundle.
        variant: ``eager``.
        num_threads: CPU threads per call; PyTorch keeps one number for the whole process, so the latest call's counts.

    Raises:
        DataError: the weights do not fit the network.
    """
    return EagerPredictor(load_network(bundle), num_threads)


class EagerPredictor:
    """Predicts with a network in eval mode."""

    def __init__(self, network: "nn.Module", num_threads: int) -> None:
        self._network = network
        self._num_threads = num_threads

    def predict(self, images_NHWC: npt.NDArray[np.uint8]) -> Prediction:
        """The prediction for a batch of any size, 0 included; images are uint8 RGB, the work is cut into batches of 64."""
        import torch

        if torch.get_num_threads() != self._num_threads:
            torch.set_num_threads(self._num_threads)
        probabilities, embeddings = [], []
        with torch.inference_mode():
            # An empty input still makes one (empty) pass, which gives the result its widths.
            for start in range(0, max(len(images_NHWC), 1), _BATCH):
                # A copy: torch wants writable memory and the source may be a read-only memory map.
                batch = torch.from_numpy(np.array(images_NHWC[start : start + _BATCH]))
                logits, embedding = self._network(batch)
                probabilities.append(torch.softmax(logits, dim=1).numpy())
                embeddings.append(embedding.numpy())
        return Prediction(np.concatenate(probabilities), np.concatenate(embeddings))
