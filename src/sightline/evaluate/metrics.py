"""Numbers about a classifier's answers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ClassScores:
    """Per class, each in [0, 1], NaN where it is not defined: recall without images of the class, precision without answers of it.

    ``f1_C`` is 0 where neither an image nor an answer was right, NaN only for a class with neither images nor answers.
    """

    recall_C: npt.NDArray[np.float64]
    precision_C: npt.NDArray[np.float64]
    f1_C: npt.NDArray[np.float64]


def accuracy(labels_N: Labels, predicted_N: Labels) -> float:
    """The share of correct answers in [0, 1]; NaN without images."""
    return float((labels_N == predicted_N).mean()) if len(labels_N) else float("nan")


def confusion(labels_N: Labels, predicted_N: Labels, num_classes: int) -> npt.NDArray[np.int64]:
    """Counts of shape (true class, predicted class); answers outside 0..C-1 (no valid answer) are in no column."""
    valid = (predicted_N >= 0) & (predicted_N < num_classes)
    flat = labels_N[valid] * num_classes + predicted_N[valid]
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_scores(labels_N: Labels, predicted_N: Labels, num_classes: int) -> ClassScores:
    """Recall, precision and F1 of each class; an invalid answer counts as a miss of its true class."""
    counts = confusion(labels_N, predicted_N, num_classes)
    hits = np.diag(counts).astype(np.float64)
    images = np.bincount(labels_N, minlength=num_classes)[:num_classes].astype(np.float64)
    answers = counts.sum(axis=0).astype(np.float64)
    return ClassScores(recall_C=_ratio(hits, images), precision_C=_ratio(hits, answers), f1_C=_ratio(2 * hits, images + answers))


def macro_f1(labels_N: Labels, predicted_N: Labels, num_classes: int) -> float:
    """The mean F1 over the classes that have images or answers; NaN without images."""
    f1_C = class_scores(labels_N, predicted_N, num_classes).f1_C
    return float(np.nanmean(f1_C)) if len(labels_N) else float("nan")


def calibration_error(correct_N: BoolArray, confidence_N: npt.NDArray[np.float32], num_bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of equal width, weighted by images; NaN without any.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On calibration of modern neural networks, ICML.
    """
    if not len(correct_N):
        return float("nan")
    confidence = confidence_N.astype(np.float64)
    bins = np.clip((confidence * num_bins).astype(np.int64), 0, num_bins - 1)
    gaps = np.bincount(bins, weights=confidence - correct_N, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(correct_N))


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return result
