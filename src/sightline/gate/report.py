"""The gate's page: verdict first, then checks, slices worst first, and the images that changed sides."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from sightline.evaluate.verdict import Check, Verdict
from sightline.gate.words import findings_first, interval_points, overall_check, percent, points

if TYPE_CHECKING:
    import numpy.typing as npt

    from sightline.data.version import Split
    from sightline.gate.evidence import BoolArray, Evidence

MAX_PICTURES = 24
_THUMBNAIL_PX = 112
_BAR_WIDTH = 260
_WORDS = {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "warn": "Warning", "info": "Not judged"}
_SIGNS = {"pass": "✓", "fail": "✕", "inconclusive": "?", "warn": "!", "info": "·"}


@dataclass(frozen=True)
class Row:
    """One line of a table; ``bar`` is the drawing, None where there is no interval."""

    check: Check
    word: str
    sign: str
    old: str
    new: str
    change: str
    interval: str
    p_value: str
    bar: Bar | None


@dataclass(frozen=True)
class Bar:
    """Positions of an interval drawing, in SVG units from 0 to the width; ``limit`` is the margin or the smallest accuracy.

    ``ends`` are the labels of the axis: left, middle, right.
    """

    width: int
    low: float
    high: float
    value: float
    zero: float | None
    limit: float | None
    ends: tuple[str, str, str]


@dataclass(frozen=True)
class Picture:
    """A golden image as a data URI, with what was said about it."""

    uri: str
    label: str
    old: str
    new: str
    confidence: str
    slice: str
    file: str


@dataclass(frozen=True)
class Gallery:
    """Images under one heading; ``total`` counts those that are not shown too."""

    title: str
    note: str
    total: int
    pictures: tuple[Picture, ...]


def render(verdict: Verdict, evidence: Evidence, golden: Split, classes: Sequence[str]) -> str:
    """One self-contained HTML page without scripts or outside resources, below 1.5 MB for the default limits.

    Args:
        verdict: the signed verdict.
        evidence: what it was decided on.
        golden: the golden images, in the order of the evidence.
        classes: class names in label order.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sightline.gate", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    slices = sorted((check for check in verdict.checks if check.slice and check.num_images), key=_worst_first)
    # A drawing is compared with its neighbours, so each table has one scale.
    checks = findings_first(check for check in verdict.checks if not (check.kind == "slice" and check.outcome in {"pass", "info"}))
    return environment.get_template("report.html.j2").render(
        verdict=verdict,
        overall=_row(overall_check(verdict.checks), 0.0),
        word=_WORDS[verdict.outcome],
        sign=_SIGNS[verdict.outcome],
        checks=_rows(checks),
        slices=_rows(slices),
        num_hidden_slices=sum(check.kind == "slice" and check.outcome == "pass" for check in verdict.checks),
        galleries=_galleries(evidence, golden, classes, [check.slice for check in slices]),
        max_pictures=MAX_PICTURES,
    )


def _worst_first(check: Check) -> tuple[int, float, float]:
    judged = {"fail": 0, "inconclusive": 1, "warn": 2, "pass": 2, "info": 3}[check.outcome]
    return judged, check.estimate or 0.0, check.p_value or 1.0


def _rows(checks: Sequence[Check]) -> list[Row]:
    ends = [abs(end) for check in checks if check.reference is not None and check.interval for end in check.interval]
    # Small slices have intervals as wide as the axis; beyond 30 points a bar is cut off, or the interesting ones would vanish.
    return [_row(check, min(0.3, ceil(max(ends, default=0.05) * 20) / 20)) for check in checks]


def _row(check: Check, reach: float) -> Row:
    paired = check.reference is not None
    share = check.value is not None and check.kind not in {"size", "latency"}
    unit = {"size": "MB", "latency": "ms"}.get(check.kind, "")
    new = percent(check.value) if share and check.value is not None else f"{check.value:.2f} {unit}" if check.value is not None else ""
    return Row(
        check=check,
        word=_WORDS[check.outcome],
        sign=_SIGNS[check.outcome],
        old=percent(check.reference) if check.reference is not None else "",
        new=new,
        change=f"{points(check.estimate)} pts" if paired and check.estimate is not None else "",
        interval=_interval_text(check),
        p_value="" if check.p_value is None else "< 0.001" if check.p_value < 0.001 else f"{check.p_value:.3f}",
        bar=_bar(check, reach) if reach else None,
    )


def _interval_text(check: Check) -> str:
    if check.interval is None:
        return ""
    return interval_points(check) if check.reference is not None else f"[{percent(check.interval[0])}, {percent(check.interval[1])}]"


def _bar(check: Check, reach: float) -> Bar | None:
    if check.interval is None or check.estimate is None:
        return None
    paired = check.reference is not None
    start, end = (-reach, reach) if paired else (0.0, 1.0)

    def place(value: float) -> float:
        return round(float(np.clip((value - start) / (end - start), 0.0, 1.0)) * (_BAR_WIDTH - 8) + 4, 1)

    limit = None if check.margin is None else place(-check.margin if paired else check.margin)
    low, high = (place(end_) for end_ in check.interval)
    ends = (f"−{reach * 100:.0f} pts", "0", f"+{reach * 100:.0f} pts") if paired else ("0 %", "50 %", "100 %")
    return Bar(_BAR_WIDTH, low, high, place(check.estimate), place(0.0) if paired else None, limit, ends)


def _galleries(evidence: Evidence, golden: Split, classes: Sequence[str], worst_first: Sequence[str]) -> list[Gallery]:
    new = evidence.correct(evidence.candidate)
    order = _Order(evidence, worst_first)
    if evidence.champion is None:
        note = "the candidate's mistakes, worst slice first, then the most confident"
        chosen = [("Mistakes", note, ~new)]
    else:
        old = evidence.correct(evidence.champion)
        chosen = [
            ("Newly broken", "right with the current model, wrong with the new one; worst slice first", old & ~new),
            ("Newly fixed", "wrong with the current model, right with the new one", ~old & new),
        ]
    return [
        Gallery(
            title, note, int(mask.sum()), tuple(_picture(row, evidence, golden, classes, order) for row in order.rows(mask)[:MAX_PICTURES])
        )
        for title, note, mask in chosen
    ]


class _Order:
    """The place of each image: by the worst attribute slice that it is in, then by the candidate's confidence."""

    def __init__(self, evidence: Evidence, worst_first: Sequence[str]) -> None:
        self.slice_N = np.full(len(evidence.labels_N), "", dtype=object)
        self._rank_N = np.full(len(evidence.labels_N), len(worst_first))
        self._confidence_N = evidence.candidate.confidence_N
        for rank, name in reversed(list(enumerate(worst_first))):
            mask = evidence.masks[name]
            self._rank_N[mask], self.slice_N[mask] = rank, name

    def rows(self, mask: BoolArray) -> list[int]:
        rows = np.flatnonzero(mask)
        return [int(row) for row in rows[np.lexsort((-self._confidence_N[rows], self._rank_N[rows]))]]


def _picture(row: int, evidence: Evidence, golden: Split, classes: Sequence[str], order: _Order) -> Picture:
    def name(index: int) -> str:
        return classes[index] if index >= 0 else "no valid answer"

    champion = evidence.champion
    return Picture(
        uri=_data_uri(golden.pixels_NHWC[row]),
        label=name(int(evidence.labels_N[row])),
        old="" if champion is None else name(int(champion.predicted_N[row])),
        new=name(int(evidence.candidate.predicted_N[row])),
        confidence=f"{float(evidence.candidate.confidence_N[row]) * 100:.0f} %",
        slice=str(order.slice_N[row]),
        file=PurePath(golden.locations[row]).name,
    )


def _data_uri(image: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
