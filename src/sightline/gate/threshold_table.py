"""From which confidence on the model may answer by itself: chosen on validation images, measured on the golden ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from sightline.evaluate.thresholds import ClassThreshold, apply, choose, fewest_answers
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
        interval: two-sided 95 % Clopper-Pearson interval of the share of right ones; None when none is kept.
    """

    num_answers: int
    num_kept: int
    num_right: int
    interval: tuple[float, float] | None

    @property
    def coverage(self) -> float:
        """The share of the answers that is kept, in [0, 1]; 0 without answers."""
        return self.num_kept / self.num_answers if self.num_answers else 0.0

    @property
    def precision(self) -> float | None:
        """The share of right answers among the kept; None when none is kept."""
        return self.num_right / self.num_kept if self.num_kept else None


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
        ThresholdRow(on_validation.name, on_validation.threshold, _kept(on_validation), _kept(on_golden), _reason(on_validation, fewest))
        for on_validation, on_golden in zip(chosen.classes, applied.classes, strict=True)
    )
    overall = Kept(applied.num_images, applied.num_kept, applied.num_right, _interval(applied.num_right, applied.num_kept))
    return ThresholdTable(chosen.target, chosen.level, rows, overall)


def _kept(part: ClassThreshold) -> Kept:
    return Kept(part.num_answers, part.num_kept, part.num_right, _interval(part.num_right, part.num_kept))


def _interval(num_right: int, num_kept: int) -> tuple[float, float] | None:
    each = (1 - _CONFIDENCE) / 2
    return (lower_bound(num_right, num_kept, each), upper_bound(num_right, num_kept, each)) if num_kept else None


def _reason(part: ClassThreshold, fewest: int) -> str:
    if part.threshold is not None:
        return ""
    if part.num_answers < fewest:
        return f"{part.num_answers} validation answers; at least {fewest} are needed"
    return "its most confident validation answers are wrong too often"


class _KeptRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    num_answers: int
    num_kept: int
    num_right: int
    coverage: float
    precision: float | None
    interval: tuple[float, float] | None


class _RowRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str
    threshold: float | None
    validation: _KeptRecord
    golden: _KeptRecord
    reason: str


class ThresholdsRecord(BaseModel):
    """``thresholds.json``: the table with coverage and precision written out; the fields are those of ``ThresholdTable``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    schema_version: Literal[1] = 1
    target: float
    level: float
    rows: tuple[_RowRecord, ...]
    overall: _KeptRecord


def write_thresholds(folder: Path, table: ThresholdTable) -> None:
    """Writes ``thresholds.json`` into ``folder``."""
    rows = tuple(
        _RowRecord(
            name=row.name, threshold=row.threshold, validation=_record(row.validation), golden=_record(row.golden), reason=row.reason
        )
        for row in table.rows
    )
    record = ThresholdsRecord(target=table.target, level=table.level, rows=rows, overall=_record(table.overall))
    write_file(folder / FILE, record.model_dump_json(indent=1).encode())


def _record(kept: Kept) -> _KeptRecord:
    return _KeptRecord(**asdict(kept), coverage=kept.coverage, precision=kept.precision)
