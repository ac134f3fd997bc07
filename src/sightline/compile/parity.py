"""How far a variant's answers are from those of the trained network, on the golden images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.runtimes.base import Prediction


@dataclass(frozen=True)
class Parity:
    """Measured on the golden images; an answer that is not finite is wrong and disagrees.

    Attributes:
        accuracy: share of correct answers, in [0, 1].
        agreement: share of images with the class that eager PyTorch gives, in [0, 1].
        max_abs_diff: largest difference of a probability from eager PyTorch's, in [0, 1]; 1 when an answer is not finite.
    """

    accuracy: float
    agreement: float
    max_abs_diff: float


def compare(answer: Prediction, eager: Prediction, labels_N: npt.NDArray[np.int64]) -> Parity:
    """The parity of a variant; an eager answer that is not finite agrees with nothing.

    Args:
        answer: the variant's prediction for the golden images, at least one.
        eager: the trained network's, for the same images in the same order.
        labels_N: true class index per image.
    """
    valid_N = _finite(answer) & _finite(eager)
    predicted_N = np.where(valid_N[:, None], answer.probabilities_NC, 0).argmax(axis=1)
    difference = np.abs(answer.probabilities_NC - eager.probabilities_NC)
    return Parity(
        accuracy=float((valid_N & (predicted_N == labels_N)).mean()),
        agreement=float((valid_N & (predicted_N == eager.probabilities_NC.argmax(axis=1))).mean()),
        max_abs_diff=float(difference.max()) if valid_N.all() else 1.0,
    )


def _finite(prediction: Prediction) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(prediction.probabilities_NC).all(axis=1), dtype=np.bool_)
