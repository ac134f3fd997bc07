"""Predictions of a model for the images of a split, tied to their sample ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.runtimes.base import Prediction, Predictor, load_predictor

if TYPE_CHECKING:
    from sightline.data.version import Split
    from sightline.models.bundle import ModelBundle

# Fixed, so that an answer does not depend on the machine that gives it.
NUM_THREADS = 2


@dataclass(frozen=True)
class Answers:
    """A model's answer per image.

    Attributes:
        sample_ids: which images, in the order of the arrays.
        predicted_N: class index in the dataset's class list; -1 for a class that the dataset does not have and for an invalid answer.
        confidence_N: probability of the predicted class in [0, 1], 0 for an invalid answer.
        num_invalid: answers with NaN or infinite probabilities.
    """

    sample_ids: tuple[str, ...]
    predicted_N: npt.NDArray[np.int64]
    confidence_N: npt.NDArray[np.float32]
    num_invalid: int = 0


def predict_split(predictor: Predictor, split: Split, batch_size: int = 64) -> Prediction:
    """The prediction for every image of ``split``, in its order.

    Raises:
        DataError: the predictor answers another number of images than it was asked.
    """
    return predict_pixels(predictor, split.pixels_NHWC, batch_size)


def predict_pixels(predictor: Predictor, pixels_NHWC: npt.NDArray[np.uint8], batch_size: int = 64) -> Prediction:
    """The prediction for images at the model's size, in batches; 0 images give 0 rows."""
    starts = range(0, max(len(pixels_NHWC), 1), batch_size)
    batches = [np.ascontiguousarray(pixels_NHWC[start : start + batch_size]) for start in starts]
    parts = [predictor.predict(batch) for batch in batches]
    for batch, part in zip(batches, parts, strict=True):
        if len(part.probabilities_NC) != len(batch):
            raise DataError(f"the model gave {len(part.probabilities_NC)} answers for {len(batch)} images")
    return Prediction(np.concatenate([part.probabilities_NC for part in parts]), np.concatenate([part.embeddings_ND for part in parts]))


class Scorer:
    """One loaded variant of a bundle, which answers in class indices of a dataset.

    Args:
        bundle: an opened bundle.
        variant: the variant that answers, see ``runtimes.base``.
        classes: the dataset's class names in label order; the model's own may differ in order and number.
    """

    def __init__(self, bundle: ModelBundle, variant: str, classes: Sequence[str]) -> None:
        self._bundle, self._classes = bundle, classes
        self._predictor = load_predictor(bundle, variant, num_threads=NUM_THREADS)

    def answers(self, split: Split, change: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] | None = None) -> Answers:
        """The answers on ``split``; a model of another input size than the packed images gets them decoded again from their files.

        Args:
            split: the images.
            change: what is done to the images (at the model's size) before they are answered.
        """
        pixels_NHWC = pixels_at(split, self._bundle.preprocessing.size_px, self._bundle.preprocessing.max_pixels)
        prediction = predict_pixels(self._predictor, pixels_NHWC if change is None else change(pixels_NHWC))
        found = to_answers(split.sample_ids, prediction.probabilities_NC, self._bundle.info.classes, self._classes)
        return aligned(found, split.sample_ids)


def to_answers(sample_ids: Sequence[str], probabilities_NC: npt.NDArray[np.float32], own: Sequence[str], classes: Sequence[str]) -> Answers:
    """Answers from probabilities.

    Args:
        sample_ids: one per row.
        probabilities_NC: (images, own classes); a row with NaN or infinity is an invalid answer, which is never correct.
        own: the model's class names in the order of its outputs.
        classes: the dataset's class names in label order.
    """
    if probabilities_NC.ndim != 2 or probabilities_NC.shape != (len(sample_ids), len(own)):
        raise DataError(f"the model's answers have shape {probabilities_NC.shape}, expected ({len(sample_ids)} images, {len(own)} classes)")
    valid = np.asarray(np.isfinite(probabilities_NC).all(axis=1), dtype=np.bool_)
    best = np.where(valid.reshape(-1, 1), probabilities_NC, 0).argmax(axis=1)
    index = {name: position for position, name in enumerate(classes)}
    to_dataset = np.array([index.get(name, -1) for name in own], dtype=np.int64)
    confidence = np.where(valid, probabilities_NC[np.arange(len(best)), best], 0).astype(np.float32)
    return Answers(tuple(sample_ids), np.where(valid, to_dataset[best], -1), confidence, int((~valid).sum()))


def aligned(answers: Answers, sample_ids: Sequence[str]) -> Answers:
    """The same answers in the order of ``sample_ids``.

    Raises:
        DataError: an image without an answer, an answer for another image, or two answers for one image.
    """
    rows = {sample_id: row for row, sample_id in enumerate(answers.sample_ids)}
    wanted = set(sample_ids)
    missing, extra = wanted - rows.keys(), rows.keys() - wanted
    duplicated = len(answers.sample_ids) - len(rows)
    if missing or extra or duplicated or len(wanted) != len(sample_ids):
        problems = [f"no answer for image {name}" for name in sorted(missing)]
        problems += [f"an answer for unknown image {name}" for name in sorted(extra)]
        problems += [f"{duplicated} images were answered twice"] if duplicated else []
        problems += ["the split holds an image twice"] if len(wanted) != len(sample_ids) else []
        raise DataError("the predictions do not belong to these images one to one", problems=problems, remedy="score the model again")
    order = np.array([rows[sample_id] for sample_id in sample_ids], dtype=np.int64)
    return Answers(tuple(sample_ids), answers.predicted_N[order], answers.confidence_N[order], answers.num_invalid)


def pixels_at(split: Split, size_px: int, max_pixels: int) -> npt.NDArray[np.uint8]:
    """The split's images as squares of ``size_px``: the packed ones where the size fits, else decoded again from files that are verified.

    Raises:
        DataError: a file is gone or was altered since it was ingested.
    """
    if split.pixels_NHWC.shape[1] == size_px or not len(split):
        return split.pixels_NHWC
    from sightline.data.locations import read_images
    from sightline.images import decode, resize

    images, problems = [], []
    for data in read_images(zip(split.locations, split.sample_ids, strict=True)):
        if isinstance(data, DataError):
            problems.append(data.message)
        else:
            images.append(resize(decode(data, max_pixels=max_pixels), size_px))
    if problems:
        size = split.pixels_NHWC.shape[1]
        raise DataError(
            f"the model takes {size_px} px images, the dataset packs {size} px, and some files cannot be decoded again",
            problems=problems,
            remedy=f"restore the files, or set ingest.image_size_px={size_px}",
        )
    return np.stack(images)
