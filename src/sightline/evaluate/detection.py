"""Detection metrics of two models on the same images: AP and AP50 for the paired bootstrap, and plain numbers for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.evaluate.coco import Detections, Truth
from sightline.evaluate.matched import IOU_THRESHOLDS, Matched, match_boxes, size_average_precision

if TYPE_CHECKING:
    from sightline.evaluate.average_precision import Table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Chosen before any golden image was seen; a threshold that is tuned on golden images flatters the model.
DEFAULT_SCORE = 0.5
# COCO's ranges in square pixels; an object of exactly 32 by 32 pixels is small and medium there.
SIZE_RANGES: Mapping[str, tuple[float, float]] = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


@dataclass(frozen=True)
class DetectionMetric:
    """AP of a reference and a candidate on the same N images; fits ``PairedMetric``.

    Attributes:
        name: "AP" (mean over IoU 0.50:0.05:0.95) or "AP50".
        reference: the matched boxes of the reference.
        candidate: those of the candidate.
        num_thresholds: how many of the IoU thresholds count: 10 for AP, 1 for AP50.
        score_thresholds_2C: from which score on a box counts in ``image_scores``, per model and class;
            chosen elsewhere than on these images.
    """

    name: str
    reference: Matched
    candidate: Matched
    num_thresholds: int
    score_thresholds_2C: Floats

    @property
    def score_name(self) -> str:
        """What ``image_scores`` is, for people."""
        return "image F1"

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.reference)

    def of_class(self, index: int) -> "DetectionMetric":
        """The same metric for one class alone, on all images."""
        return replace(self, reference=self.reference.of_class(index), candidate=self.candidate.of_class(index))

    def subset(self, rows_M: Ints) -> "DetectionMetric":
        """The same metric on some of the images, in the order of ``rows_M``."""
        return replace(self, reference=self.reference.subset(rows_M), candidate=self.candidate.subset(rows_M))

    def at(self, weights_BN: npt.NDArray[np.float32]) -> Floats:
        """AP of both models for B weightings, equal to what pycocotools gives when image n stands in the data ``weights_BN[:, n]`` times.

        Args:
            weights_BN: whole numbers from 0.

        Returns:
            Shape (B, 2): reference, candidate. Classes without objects are left out of the mean; NaN without any object.
        """
        from sightline.evaluate.average_precision import class_average_precision

        if weights_BN.ndim != 2 or weights_BN.shape[1] != len(self):
            raise ValueError(f"weights of shape {weights_BN.shape} do not fit {len(self)} images")
        return np.stack([_mean_of_present(class_average_precision(table, weights_BN)) for table in self._tables], axis=1)

    def image_scores(self) -> Floats:
        """F1 of each image at IoU 0.5, shape (2, N). Never NaN: an image without objects scores 1 when nothing is found in it, else 0."""
        reference, candidate = self.score_thresholds_2C
        return np.stack([self.reference.image_f1(reference), self.candidate.image_f1(candidate)])

    @cached_property
    def _tables(self) -> "tuple[Table, Table]":
        from sightline.evaluate.average_precision import table_of

        return table_of(self.reference, self.num_thresholds), table_of(self.candidate, self.num_thresholds)


@dataclass(frozen=True)
class DetectionSummary:
    """Plain numbers of one model; NaN where there are no objects.

    Attributes:
        ap: mean over IoU 0.50:0.05:0.95 and classes with objects.
        ap50: at IoU 0.5.
        ar100: recall at the end of the curve with at most 100 boxes per class and image, mean over IoUs and classes.
        by_size: AP of "small", "medium" and "large" objects.
        by_class: AP of each class.
        num_images_without_answer: images without any box.
    """

    ap: float
    ap50: float
    ar100: float
    by_size: Mapping[str, float] = field(default_factory=dict)
    by_class: Mapping[str, float] = field(default_factory=dict)
    num_images_without_answer: int = 0


@dataclass(frozen=True)
class Comparison:
    """Two models, matched once; both metrics and the plain numbers of each."""

    ap: DetectionMetric
    ap50: DetectionMetric
    reference: DetectionSummary
    candidate: DetectionSummary


def match(truth: Truth, reference: Detections, candidate: Detections, *, score_thresholds_2C: Floats | None = None) -> Comparison:
    """Both models matched to the objects, ready for the bootstrap.

    Args:
        truth: the objects.
        reference: boxes of the champion or anchor.
        candidate: boxes of the candidate.
        score_thresholds_2C: from which score on a box counts in ``image_scores``, chosen on validation images; None: 0.5.
    """
    thresholds = np.full((2, len(truth.classes)), DEFAULT_SCORE) if score_thresholds_2C is None else score_thresholds_2C
    if thresholds.shape != (2, len(truth.classes)):
        raise ValueError(f"score thresholds of shape {thresholds.shape} do not fit two models and {len(truth.classes)} classes")
    old, new = match_boxes(truth, reference), match_boxes(truth, candidate)
    return Comparison(
        ap=DetectionMetric("AP", old, new, len(IOU_THRESHOLDS), thresholds),
        ap50=DetectionMetric("AP50", old, new, 1, thresholds),
        reference=_summary(truth, reference, old),
        candidate=_summary(truth, candidate, new),
    )


def summarise(truth: Truth, detections: Detections) -> DetectionSummary:
    """The plain numbers of one model, e.g. of a first one that has no champion."""
    return _summary(truth, detections, match_boxes(truth, detections))


def _summary(truth: Truth, detections: Detections, matched: Matched) -> DetectionSummary:
    from sightline.evaluate.average_precision import class_average_precision, table_of

    once = np.ones((1, len(truth)), dtype=np.float32)
    per_class, per_class_50 = (class_average_precision(table_of(matched, count), once) for count in (len(IOU_THRESHOLDS), 1))
    return DetectionSummary(
        ap=float(_mean_of_present(per_class)[0]),
        ap50=float(_mean_of_present(per_class_50)[0]),
        ar100=matched.recall_at_end(),
        by_size=size_average_precision(truth, detections),
        by_class=dict(zip(truth.classes, per_class[0].tolist(), strict=True)),
        num_images_without_answer=detections.num_images_without_answer,
    )


def _mean_of_present(values_BC: Floats) -> Floats:
    present = ~np.isnan(values_BC)
    counts = present.sum(axis=1)
    sums = np.where(present, values_BC, 0.0).sum(axis=1)
    result: Floats = np.divide(sums, counts, out=np.full(len(values_BC), np.nan), where=counts > 0)
    return result


def image_slices(truth: Truth, *, max_values: int = 50) -> dict[str, BoolArray]:
    """Masks over the images, sorted by name: attributes, classes (images that hold one) and object sizes (images that hold one).

    Args:
        truth: the objects.
        max_values: an attribute with more different values (a time, an address) makes no slices.
    """
    masks = {f"class={name}": _holding(truth, truth.class_M == index) for index, name in enumerate(truth.classes)}
    for attribute, values in truth.attributes.items():
        texts = np.array(values, dtype=str)
        known = [value for value in np.unique(texts) if value not in {"", "nan", "None", "<NA>"}]
        masks |= {f"{attribute}={value}": texts == value for value in known} if len(known) <= max_values else {}
    masks |= {f"object_size={name}": mask for name, mask in object_size_masks(truth).items()}
    return dict(sorted(masks.items()))


def object_size_masks(truth: Truth) -> dict[str, BoolArray]:
    """Which images hold "small", "medium" and "large" objects; crowds do not count."""

    def within(low: float, high: float) -> BoolArray:
        return _holding(truth, (truth.area_M >= low) & (truth.area_M <= high))

    return {name: within(low, high) for name, (low, high) in SIZE_RANGES.items()}


def _holding(truth: Truth, objects_M: BoolArray) -> BoolArray:
    mask = np.zeros(len(truth), dtype=np.bool_)
    mask[truth.image_M[objects_M & ~truth.is_crowd_M]] = True
    return mask
