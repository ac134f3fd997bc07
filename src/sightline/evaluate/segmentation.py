"""Mean IoU and Dice of two segmentations of the same images, for resamples of the images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.evaluate.masks import IGNORE, MaskFolder, MaskRefusedError, MaskU8
from sightline.evaluate.paired import Floats, Ints

Overlap = Literal["miou", "dice"]
_NAMES: dict[Overlap, str] = {"miou": "mIoU", "dice": "Dice"}
_MAX_PROBLEMS = 50


@dataclass(frozen=True)
class PixelCounts:
    """Pixels per image and class, each of shape (N, C): rightly predicted, true, predicted. Ignored pixels are in none of them."""

    hits_NC: Ints
    truth_NC: Ints
    predicted_NC: Ints

    def __len__(self) -> int:
        return len(self.hits_NC)


@dataclass(frozen=True)
class OverlapMetric:
    """mIoU or Dice of a reference and a candidate: pixels are added up over the images, then averaged over classes.

    A class that is neither in the truth nor in the prediction is left out of the mean.

    Attributes:
        kind: miou or dice.
        reference: counts of the reference; None without one: its column is NaN.
        candidate: counts of the candidate.
    """

    kind: Overlap
    reference: PixelCounts | None
    candidate: PixelCounts

    @property
    def name(self) -> str:
        """For people."""
        return _NAMES[self.kind]

    @property
    def score_name(self) -> str:
        """What ``image_scores`` is, for people."""
        return {"miou": "image IoU", "dice": "image Dice"}[self.kind]

    def __len__(self) -> int:
        return len(self.candidate)

    def subset(self, rows_M: Ints) -> OverlapMetric:
        """The same metric on some of the images, in the order of ``rows_M``."""
        reference = None if self.reference is None else _rows(self.reference, rows_M)
        return OverlapMetric(self.kind, reference, _rows(self.candidate, rows_M))

    def at(self, weights_BN: npt.NDArray[np.float32]) -> Floats:
        """Shape (B, 2): the metric of reference and candidate for B weightings of the images; NaN where no pixel counts."""
        result = np.full((len(weights_BN), 2), np.nan)
        weights = weights_BN.astype(np.float64)
        for column, counts in enumerate((self.reference, self.candidate)):
            if counts is not None:
                hits_BC, union_BC = (weights @ part_NC for part_NC in _parts(counts, self.kind))
                result[:, column] = _mean(_ratio(hits_BC, union_BC))
        return result

    def image_scores(self) -> Floats:
        """Shape (2, N): the metric of each image by itself; NaN where no pixel counts, and for a reference that does not exist."""
        nothing = np.full(len(self), np.nan)
        return np.stack([nothing if c is None else _mean(_ratio(*_parts(c, self.kind))) for c in (self.reference, self.candidate)])


def overlap_metric(kind: Overlap, reference: PixelCounts | None, candidate: PixelCounts) -> OverlapMetric:
    """The metric, after it was checked that both models were counted against the same truth.

    Raises:
        DataError: other images, other classes or another truth.
    """
    if reference is not None and not np.array_equal(reference.truth_NC, candidate.truth_NC):
        raise DataError(
            f"reference and candidate were not counted against the same masks: {reference.truth_NC.shape} and {candidate.truth_NC.shape}",
            remedy="score both models on the same golden images",
        )
    return OverlapMetric(kind, reference, candidate)


def class_overlaps(counts: PixelCounts, kind: Overlap) -> Floats:
    """IoU (or Dice) per class over all images, shape (C,), in [0, 1]; NaN for a class that is neither true nor predicted anywhere."""
    hits_NC, union_NC = _parts(counts, kind)
    return _ratio(hits_NC.sum(axis=0), union_NC.sum(axis=0))


def count_pixels(masks: Iterable[tuple[MaskU8, MaskU8]], num_classes: int) -> PixelCounts:
    """The counts of (truth, prediction) masks of equal size, one image at a time.

    Pixels that the truth ignores are left out; a pixel without a predicted class (``IGNORE``, or one beyond the classes) is a miss.
    """
    rows = [_count(truth_HW, predicted_HW, num_classes) for truth_HW, predicted_HW in masks]
    counts = np.array(rows, dtype=np.int64).reshape(len(rows), 3, num_classes)
    return PixelCounts(counts[:, 0], counts[:, 1], counts[:, 2])


def count_folders(truth: MaskFolder, predicted: MaskFolder) -> PixelCounts:
    """The counts of two folders of masks of the same images, in the order of ``truth.names``; one pair is in memory at a time.

    Raises:
        DataError: a mask cannot be used, or has another size than its truth; all problems at once.
    """
    if predicted.num_classes != truth.num_classes or set(predicted.names) != set(truth.names):
        raise DataError(f"{predicted.folder} and {truth.folder} are not of the same images and classes")
    rows, problems = [], []
    for name in truth.names:
        try:
            truth_HW, predicted_HW = truth.read(name), predicted.read(name)
        except MaskRefusedError as error:
            problems.append(str(error))
        else:
            if truth_HW.shape == predicted_HW.shape:
                rows.append(_count(truth_HW, predicted_HW, truth.num_classes))
            else:
                sizes = [f"{shape[1]}×{shape[0]}" for shape in (predicted_HW.shape, truth_HW.shape)]
                problems.append(f"{predicted.paths[name]}: {sizes[0]} pixels, its truth has {sizes[1]}")
        if len(problems) >= _MAX_PROBLEMS:
            break
    if problems:
        remedy = "write the masks again, at the size of the image, with class indices of the dataset"
        raise DataError(f"masks of {predicted.folder} cannot be compared with {truth.folder}", problems=problems, remedy=remedy)
    counts = np.array(rows, dtype=np.int64).reshape(len(rows), 3, truth.num_classes)
    return PixelCounts(counts[:, 0], counts[:, 1], counts[:, 2])


def _count(truth_HW: MaskU8, predicted_HW: MaskU8, num_classes: int) -> Ints:
    judged = truth_HW != IGNORE
    truth = truth_HW[judged].astype(np.int64)
    predicted = np.minimum(predicted_HW[judged].astype(np.int64), num_classes)
    base = num_classes + 1
    cells = np.bincount(truth * base + predicted, minlength=num_classes * base).reshape(-1, base)[:num_classes]
    counts: Ints = np.stack([np.diag(cells), cells.sum(axis=1), cells[:, :num_classes].sum(axis=0)]).astype(np.int64)
    return counts


def _parts(counts: PixelCounts, kind: Overlap) -> tuple[Floats, Floats]:
    """Numerator and denominator per image and class; both add up over images."""
    hits, whole = counts.hits_NC.astype(np.float64), (counts.truth_NC + counts.predicted_NC).astype(np.float64)
    return (2 * hits, whole) if kind == "dice" else (hits, whole - hits)


def _rows(counts: PixelCounts, rows_M: Ints) -> PixelCounts:
    return PixelCounts(counts.hits_NC[rows_M], counts.truth_NC[rows_M], counts.predicted_NC[rows_M])


def _ratio(part: Floats, whole: Floats) -> Floats:
    result: Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return result


def _mean(values_BC: Floats) -> Floats:
    """The mean over the classes that are defined; NaN where none is (without numpy's warning)."""
    defined = np.isfinite(values_BC)
    count_B = defined.sum(axis=1)
    total_B = np.where(defined, values_BC, 0.0).sum(axis=1)
    result: Floats = np.divide(total_B, count_B, out=np.full(len(values_BC), np.nan), where=count_B > 0)
    return result
