"""From which confidence on the model may answer by itself: chosen on validation images, measured on the golden ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sightline.evaluate.thresholds import Applied, ClassThreshold, apply, choose, fewest_answers
from sightline.evaluate.verdict import Frozen
from sightline.gate.bounds import lower_bound, upper_bound
from sightline.store.artifact import write_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from sightline.evaluate.predict import Answers

FILE = "thresholds.json"
# Two-sided, for the intervals of what was measured.
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Kept:
    """The answers at or above a threshold.

    Attributes:
        num_answers: all answers that are looked at.
        num_kept: those at or above the threshold.
        num_right: right ones among the kept.
        coverage: the share of the answers that is kept, in [0, 1]; 0 without answers.
        precision: the share of right ones among the kept; None when none is kept.
        interval: two-sided 95 % Clopper-Pearson interval of the precision; None when none is kept.
    """

    num_answers: int
    num_kept: int
    num_right: int
    coverage: float
    precision: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ThresholdRow:
    """One class that the model answers.

    Attributes:
        name: the class.
        threshold: answers with at least this confidence are kept; None: no confidence is shown to be enough, and ``reason`` says why.
        validation: the validation images on which it was chosen.
        golden: the golden images, on which it was not chosen.
        reason: for people, why there is no threshold; empty where there is one.
    """

    name: str
    threshold: float | None
    validation: Kept
    golden: Kept
    reason: str


@dataclass(frozen=True)
class ThresholdTable:
    """Thresholds of all classes and what they do.

    Attributes:
        target: the precision that is aimed at, in (0, 1).
        level: one-sided confidence with which each class was shown to reach it on the validation images.
        rows: in label order.
        overall: all golden images; an invalid answer is never kept.
    """

    target: float
    level: float
    rows: tuple[ThresholdRow, ...]
    overall: Kept

    def standing(self, kept: Kept) -> Literal["reached", "within chance", "missed", "unknown"]:
        """How the measured precision stands to the target; "within chance": below it, and the interval still holds it."""
        if kept.precision is None or kept.interval is None:
            return "unknown"
        if kept.precision >= self.target:
            return "reached"
        return "missed" if kept.interval[1] < self.target else "within chance"


def threshold_table(
    validation: Answers,
    validation_labels: npt.NDArray[np.int64],
    golden: Answers,
    golden_labels: npt.NDArray[np.int64],
    classes: Sequence[str],
) -> ThresholdTable:
    """Thresholds for 95 % precision, see ``evaluate.thresholds.choose``, and what they do on the golden images.

    Args:
        validation: answers to validation images.
        validation_labels: their true class indices, in the same order.
        golden: answers to golden images.
        golden_labels: their true class indices.
        classes: class names in label order.

    Raises:
        DataError: a golden image is among the validation images.
    """
    chosen = choose(validation, validation_labels, classes)
    applied = apply(chosen, golden, golden_labels)
    fewest = fewest_answers(chosen.target, chosen.level)
    rows = tuple(
        ThresholdRow(seen.name, seen.threshold, _class_kept(seen), _class_kept(measured), _reason(seen, fewest))
        for seen, measured in zip(chosen.classes, applied.classes, strict=True)
    )
    overall = _kept(applied, applied.num_images)
    return ThresholdTable(chosen.target, chosen.level, rows, overall)


def _class_kept(part: ClassThreshold) -> Kept:
    return _kept(part, part.num_answers)


def _kept(part: ClassThreshold | Applied, num_answers: int) -> Kept:
    each = (1 - _CONFIDENCE) / 2
    bounds = [bound(part.num_right, part.num_kept, each) for bound in (lower_bound, upper_bound)]
    interval = (bounds[0], bounds[1]) if part.num_kept else None
    return Kept(num_answers, part.num_kept, part.num_right, part.coverage, part.precision, interval)


def _reason(part: ClassThreshold, fewest: int) -> str:
    if part.threshold is not None:
        return ""
    if part.num_answers < fewest:
        return f"{part.num_answers} validation answers; at least {fewest} are needed"
    return "its most confident validation answers are wrong too often"


class ThresholdsRecord(Frozen):
    """``thresholds.json``; the fields are those of ``ThresholdTable``."""

    schema_version: Literal[1] = 1
    target: float
    level: float
    rows: tuple[ThresholdRow, ...]
    overall: Kept


def write_thresholds(folder: Path, table: ThresholdTable) -> None:
    """Writes ``thresholds.json`` into ``folder``."""
    write_file(folder / FILE, ThresholdsRecord(**asdict(table)).model_dump_json(indent=1).encode())
