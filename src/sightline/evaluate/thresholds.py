"""Per class, the confidence above which an answer can be taken without a person looking; chosen on validation images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.evaluate.predict import Answers

# Each step looks at a quarter more answers: small steps would stop at the first wrong answer that a few more right ones make up for.
_GROWTH = 1.25


@dataclass(frozen=True)
class ClassThreshold:
    """The threshold of one class and what it did on the images that it was applied to or chosen on.

    Attributes:
        name: the class that the model answers.
        threshold: answers with at least this confidence are kept; None: no threshold is shown to reach the target, none is kept.
        num_answers: answers of this class.
        num_kept: those at or above the threshold.
        num_right: right ones among the kept.
    """

    name: str
    threshold: float | None
    num_answers: int
    num_kept: int
    num_right: int

    @property
    def coverage(self) -> float:
        """The share of the class's answers that is kept, in [0, 1]; 0 without answers."""
        return self.num_kept / self.num_answers if self.num_answers else 0.0

    @property
    def precision(self) -> float | None:
        """The share of right answers among the kept; None when none is kept."""
        return self.num_right / self.num_kept if self.num_kept else None


@dataclass(frozen=True)
class Thresholds:
    """Thresholds for a target precision.

    Attributes:
        target: the precision that is aimed at.
        level: one-sided confidence with which it was shown on the validation images.
        classes: in label order.
        sample_ids: the images on which they were chosen.
    """

    target: float
    level: float
    classes: tuple[ClassThreshold, ...]
    sample_ids: frozenset[str]


@dataclass(frozen=True)
class Applied:
    """What thresholds do on other images.

    Attributes:
        classes: per class, in label order.
        num_images: all images.
        num_kept: images whose answer is kept.
        num_right: right ones among them.
        low: lower Clopper-Pearson bound of the precision at the thresholds' level; 0 when nothing is kept.
    """

    classes: tuple[ClassThreshold, ...]
    num_images: int
    num_kept: int
    num_right: int
    low: float

    @property
    def coverage(self) -> float:
        """The share of the images whose answer is kept, in [0, 1]; 0 without images."""
        return self.num_kept / self.num_images if self.num_images else 0.0

    @property
    def precision(self) -> float | None:
        """The share of right answers among the kept; None when none is kept."""
        return self.num_right / self.num_kept if self.num_kept else None


def choose(
    answers: Answers, labels_N: npt.NDArray[np.int64], classes: Sequence[str], target: float = 0.95, level: float = 0.9
) -> Thresholds:
    """The lowest threshold per class whose precision is shown, not only observed, to reach ``target``.

    A threshold at which the observed precision just reaches the target misses it on other images about every second time, more often for
    small classes. So the lower Clopper-Pearson bound must reach it. Thresholds are tried from the strictest that could succeed at all to
    ever laxer ones, up to the first that fails; this order makes the level hold for the chosen one without a correction. At 95 % precision
    and level 0.9 a class needs at least 45 answers without a wrong one; where that is missing no threshold is given.

    Args:
        answers: answers to validation images, never to golden ones.
        labels_N: their true class indices.
        classes: class names in label order.
        target: precision in (0, 1).
        level: one-sided confidence in (0, 1), for each class by itself.

    Source: A. N. Angelopoulos, S. Bates, E. J. Candès, M. I. Jordan, L. Lei (2021), Learn then test: calibrating predictive algorithms to
    achieve risk control, arXiv:2110.01052 (fixed sequence).
    """
    chosen = []
    for index, name in enumerate(classes):
        rows = np.flatnonzero(answers.predicted_N == index)
        right, confidence = labels_N[rows] == index, answers.confidence_N[rows]
        threshold = _lowest(right, confidence, target, level)
        chosen.append(_counted(name, threshold, right, confidence))
    return Thresholds(target, level, tuple(chosen), frozenset(answers.sample_ids))


def apply(thresholds: Thresholds, answers: Answers, labels_N: npt.NDArray[np.int64]) -> Applied:
    """Coverage and precision of the thresholds on images on which they were not chosen.

    Raises:
        DataError: some of the images are those on which they were chosen.
    """
    shared = sorted(thresholds.sample_ids & set(answers.sample_ids))
    if shared:
        raise DataError(
            f"{len(shared)} images were also used to choose the thresholds, so their precision would be flattered",
            problems=shared,
            remedy="choose thresholds on the validation split and apply them to the golden one",
        )
    parts = []
    for index, chosen in enumerate(thresholds.classes):
        rows = np.flatnonzero(answers.predicted_N == index)
        parts.append(_counted(chosen.name, chosen.threshold, labels_N[rows] == index, answers.confidence_N[rows]))
    kept, right = sum(part.num_kept for part in parts), sum(part.num_right for part in parts)
    low = float(_lower_bounds(np.array([right]), np.array([kept]), thresholds.level)[0]) if kept else 0.0
    return Applied(tuple(parts), len(labels_N), kept, right, low)


def fewest_answers(target: float, level: float) -> int:
    """How many answers of a class, all of them right, are the fewest that can show ``target`` at ``level``: 45 for 0.95 at 0.9."""
    return int(np.ceil(np.log(1 - level) / np.log(target)))


def _counted(name: str, threshold: float | None, right: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float32]) -> ClassThreshold:
    kept = confidence >= threshold if threshold is not None else np.zeros(len(right), dtype=np.bool_)
    return ClassThreshold(name, threshold, len(right), int(kept.sum()), int(right[kept].sum()))


def _lowest(right: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float32], target: float, level: float) -> float | None:
    kept = _steps(confidence, target, level)
    hits = np.cumsum(right[np.argsort(-confidence, kind="stable")], dtype=np.int64)[kept - 1]
    shown = _lower_bounds(hits, kept, level) >= target
    passed = len(shown) if shown.all() else int(shown.argmin())
    return float(np.sort(confidence)[::-1][kept[passed - 1] - 1]) if passed else None


def _steps(confidence: npt.NDArray[np.float32], target: float, level: float) -> npt.NDArray[np.int64]:
    """How many answers each tried threshold keeps, growing; depends on the confidences alone, never on what is right."""
    fewest = fewest_answers(target, level)
    wanted, total = [], len(confidence)
    size = float(fewest)
    while size < total:
        wanted.append(int(size))
        size *= _GROWTH
    if total >= fewest:
        wanted.append(total)
    # Equal confidences are kept or left together.
    ordered = np.sort(-confidence)
    return np.unique(np.searchsorted(ordered, ordered[np.array(wanted, dtype=np.int64) - 1], side="right"))


def _lower_bounds(num_right: npt.NDArray[np.int64], num: npt.NDArray[np.int64], level: float) -> npt.NDArray[np.float64]:
    from scipy.special import betaincinv

    # The bound is 0 when none is right; the function would not be defined there.
    bounds: npt.NDArray[np.float64] = np.where(num_right > 0, betaincinv(np.maximum(num_right, 1), num - num_right + 1, 1 - level), 0.0)
    return bounds
