"""What every runtime offers, and how one is loaded."""

import importlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sightline.errors import EnvironmentFault
from sightline.models.bundle import ModelBundle

EAGER = "eager"


class UnavailableError(EnvironmentFault):
    """This machine cannot run the variant; the message says why. Never to be taken for success."""


@dataclass(frozen=True)
class Prediction:
    """The answers for N images.

    Attributes:
        probabilities_NC: softmax over classes, float32.
        embeddings_ND: penultimate features, float32.
    """

    probabilities_NC: npt.NDArray[np.float32]
    embeddings_ND: npt.NDArray[np.float32]


class Predictor(Protocol):
    """A loaded variant. Safe to call from several threads."""

    def predict(self, images_NHWC: npt.NDArray[np.uint8]) -> Prediction:
        """The prediction for a batch of any size, 0 included; images are uint8 RGB at the bundle's size."""
        ...


def load_predictor(bundle: ModelBundle, variant: str, *, num_threads: int = 1) -> Predictor:
    """The predictor of one variant.

    Args:
        bundle: an opened bundle.
        variant: ``eager``, or a key of ``bundle.info.variants``; the part before the first dash names the runtime's module.
        num_threads: CPU threads per call.

    Raises:
        UnavailableError: the runtime or the device is not here.
    """
    module = importlib.import_module(f"sightline.runtimes.{variant.split('-', maxsplit=1)[0]}")
    predictor: Predictor = module.load(bundle, variant, num_threads=num_threads)
    return predictor
