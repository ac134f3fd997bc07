"""Positions of what the gate's page draws; the page itself turns them into SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from sightline.evaluate.calibration import NUM_BINS, Reliability, Stated, bin_edges, reliability
from sightline.evaluate.verdict import Check
from sightline.gate.values import is_difference

if TYPE_CHECKING:
    from sightline.gate.evidence import Evidence

BAR_WIDTH = 220
PLOT_PX = 280
_AXES = ((0.9, 0.02), (0.8, 0.05), (0.7, 0.1), (0.6, 0.1), (0.5, 0.1), (0.4, 0.2), (0.2, 0.2), (0.0, 0.25))


@dataclass(frozen=True)
class Bar:
    """Positions of an interval drawing, in SVG units from 0 to the width; ``limit`` is the margin or the smallest value.

    ``ends`` are the labels of the axis: left, middle, right; ``is_cut`` that the interval goes on beyond an end.
    """

    width: int
    low: float
    high: float
    value: float
    zero: float | None
    limit: float | None
    ends: tuple[str, str, str]
    is_cut: bool = False


@dataclass(frozen=True)
class ReliabilityCurve:
    """How often one model is right at each confidence that it states; ``name`` is for people, e.g. "new model"."""

    name: str
    points: Reliability


@dataclass(frozen=True)
class Curve:
    """A reliability curve in SVG units: ``line`` for a polyline, ``dots`` as (x, y, what a person reads on it)."""

    name: str
    line: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Plot:
    """Reliability curves in a square; ``ticks`` are (position, label) from the lowest value to 100 %, the same on both axes."""

    curves: tuple[Curve, ...]
    ticks: tuple[tuple[float, str], ...]
    size: int = PLOT_PX


@dataclass(frozen=True)
class Twin:
    """Two values on one scale from 0, as widths in per cent; ``old`` is None without a reference."""

    old: float | None
    new: float


def reach_of(checks: Sequence[Check]) -> float:
    """Half the width of a common scale for differences of shares: all intervals fit, but never more than 30 points.

    Small slices have intervals as wide as the axis; were they to fit, the interesting ones would vanish.
    """
    ends = [abs(end) for check in checks if _drawable(check) and is_difference(check) and check.interval for end in check.interval]
    ends += [check.margin for check in checks if _drawable(check) and is_difference(check) and check.margin is not None]
    # Rounding up must not lift 0.05 to 0.06 because 0.05 * 100 is a little more than 5.
    step = 0.01 if max(ends, default=0.05) <= 0.05 else 0.05
    return min(0.3, max(0.01, ceil(max(ends, default=0.05) / step - 1e-9) * step))


def bar(check: Check, reach: float) -> Bar | None:
    """The interval of one check; None when there is none, or when it is no share (a size has no interval and no common scale)."""
    if not _drawable(check) or check.interval is None or check.estimate is None:
        return None
    paired = is_difference(check)
    start, end = (-reach, reach) if paired else (0.0, 1.0)

    def place(value: float) -> float:
        return round(min(1.0, max(0.0, (value - start) / (end - start))) * (BAR_WIDTH - 8) + 4, 1)

    limit = None
    if check.margin is not None:
        limit = place(check.margin if not paired or check.lower_is_better else -check.margin)
    low, high = (place(end_) for end_ in check.interval)
    ends = (f"−{reach * 100:.0f} pts", "0", f"+{reach * 100:.0f} pts") if paired else ("0 %", "50 %", "100 %")
    is_cut = check.interval[0] < start - 1e-9 or check.interval[1] > end + 1e-9
    return Bar(BAR_WIDTH, low, high, place(check.estimate), place(0.0) if paired else None, limit, ends, is_cut)


def _drawable(check: Check) -> bool:
    return check.unit == "share" and check.kind not in {"slice-parity", "agreement"}


def twin(check: Check) -> Twin | None:
    """Both models' values of a share between 0 and 1; None without one."""
    if check.unit != "share" or check.value is None:
        return None
    return Twin(None if check.reference is None else _width(check.reference), _width(check.value))


def _width(share: float) -> float:
    return round(min(1.0, max(0.0, share)) * 100, 1)


def reliability_curves(evidence: Evidence) -> tuple[ReliabilityCurve, ...]:
    """The curves of a classifier and of the champion, if there is one, on bins that both share.

    As in the calibration check, an invalid answer is an error stated with full confidence.
    """
    answers = [("current model", evidence.champion), ("new model", evidence.candidate)]
    stated = {
        name: Stated(evidence.correct(given), np.where(given.confidence_N > 0, given.confidence_N, 1.0))
        for name, given in answers
        if given is not None
    }
    edges = bin_edges(np.concatenate([one.confidence_N for one in stated.values()]), min(NUM_BINS, len(evidence.labels_N) // 20 or 1))
    return tuple(ReliabilityCurve(name, reliability(one, edges)) for name, one in stated.items())


def plot(curves: Sequence[ReliabilityCurve]) -> Plot | None:
    """Confidence to the right, share of right answers upwards, from the lowest of either to 100 %; None without any point.

    A good classifier states little below 90 %: on an axis from 0 everything would be one blob in the corner.
    """
    drawn = [one for one in curves if len(one.points.num_K)]
    if not drawn:
        return None
    lowest = min(float(values.min()) for one in drawn for values in (one.points.confidence_K, one.points.accuracy_K))
    # Every start reaches 100 % in whole steps.
    start, step = next((start, step) for start, step in _AXES if start <= lowest)
    marks = [start + step * index for index in range(round((1 - start) / step) + 1)]
    ticks = tuple((_along(mark, start), f"{mark * 100:.0f} %") for mark in marks)
    return Plot(tuple(_curve(one, start) for one in drawn), ticks)


def _curve(curve: ReliabilityCurve, start: float) -> Curve:
    dots = []
    for confidence, accuracy, images in zip(
        curve.points.confidence_K.tolist(), curve.points.accuracy_K.tolist(), curve.points.num_K.tolist(), strict=True
    ):
        read = f"{curve.name}: stated {confidence:.0%}, right {accuracy:.0%} of {images} images"
        dots.append((_along(confidence, start), round(PLOT_PX - _along(accuracy, start), 1), read))
    return Curve(curve.name, " ".join(f"{x},{y}" for x, y, _ in dots), tuple(dots))


def _along(value: float, start: float) -> float:
    return round((min(1.0, max(start, value)) - start) / (1 - start) * PLOT_PX, 1)


def heat(estimate: float | None) -> str:
    """How strongly a table cell is coloured: "", "loss-1" to "loss-3" or "gain"; half a point either way is no colour."""
    if estimate is None or abs(estimate) < 0.005:
        return ""
    if estimate > 0:
        return "gain"
    return "loss-3" if estimate <= -0.1 else "loss-2" if estimate <= -0.03 else "loss-1"
