"""The gate's page: verdict first, then what blocks, the checks, slices worst first, and the images that changed sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from sightline.evaluate.slices import CROSS, PROPERTY_PREFIX
from sightline.evaluate.verdict import Check, CheckOutcome, Confusion, Verdict
from sightline.gate.blocking import Blocking, blocking, blocking_checks, explained_by, findings_first, labels_needed, waived_checks
from sightline.gate.drawings import Bar, ReliabilityCurve, Twin, bar, heat, plot, reach_of, twin
from sightline.gate.gallery import MAX_PICTURES, Gallery, worst_slices_first
from sightline.gate.values import (
    change_text,
    count_of,
    day,
    explains,
    images_text,
    interval_text,
    is_difference,
    is_figure,
    loss,
    p_text,
    percent,
    points,
    value_text,
)
from sightline.gate.words import attempt_sentence, find_overall

if TYPE_CHECKING:
    from sightline.gate.threshold_table import ThresholdRow, ThresholdTable
    from sightline.gate.variant_table import VariantColumn, VariantTable

_WORDS: dict[CheckOutcome, str] = {
    "pass": "Pass",
    "fail": "Fail",
    "inconclusive": "Inconclusive",
    "warn": "Warning",
    "info": "Not judged",
    "waived": "Waived",
}
_SIGNS: dict[CheckOutcome, str] = {"pass": "✓", "fail": "✕", "inconclusive": "?", "warn": "!", "info": "·", "waived": "~"}
# Longer tables are folded after so many rows, and end after so many: a thousand classes are a thousand slices.
_OPEN_ROWS, _MAX_ROWS, _MAX_VARIANT_ROWS = 15, 120, 25
_OPEN_ERRORS = 12
_PICTURE_BUDGET = 900_000


@dataclass(frozen=True)
class Page:
    """What the page shows besides the verdict.

    Attributes:
        verdict: the signed verdict of any task.
        galleries: images that changed sides, see ``gate.gallery``; newly broken ones first.
        variants: every compiled variant on every slice; None without any.
        reliability: reliability curves, the current model first.
        thresholds: from which confidence on the model may answer by itself; None where that was not looked at.
    """

    verdict: Verdict
    galleries: Sequence[Gallery] = ()
    variants: VariantTable | None = None
    reliability: Sequence[ReliabilityCurve] = ()
    thresholds: ThresholdTable | None = None


@dataclass(frozen=True)
class Row:
    """One check of a table.

    Attributes:
        note: images, p-value and detail in one line.
        bar: the interval as a drawing, None where there is nothing to draw; ``twin`` likewise.
    """

    check: Check
    word: str
    sign: str
    old: str
    new: str
    change: str
    interval: str
    images: str
    note: str
    bar: Bar | None
    twin: Twin | None


@dataclass(frozen=True)
class Table:
    """Rows of one kind.

    Attributes:
        open: seen at once; ``folded`` are seen on a click on ``more``, and ``num_left`` further ones are only in verdict.json.
        paired: there are differences.
        drawn: there are enough intervals for a column of their own.
    """

    title: str
    note: str
    open: tuple[Row, ...]
    folded: tuple[Row, ...]
    more: str
    num_left: int
    paired: bool
    drawn: bool


@dataclass(frozen=True)
class ErrorRow:
    """One kind of error; the widths are per cent of the largest count."""

    error: Confusion
    change: str
    tone: str
    old_width: float
    new_width: float


def render(page: Page) -> str:
    """One self-contained HTML page without scripts or outside resources, below 1.5 MB; every name from data is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sightline.gate", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "points": points, "day": day, "count_of": count_of}
    verdict = page.verdict
    by_override = verdict.outcome == "pass" and bool(waived_checks(verdict.checks))
    variant_rows, variant_columns = _variants(page.variants)
    return environment.get_template("report.html.j2").render(
        verdict=verdict,
        tone="waived" if by_override else verdict.outcome,
        word="Pass by override" if by_override else _WORDS[verdict.outcome],
        sign=_SIGNS["waived" if by_override else verdict.outcome],
        **_check_tables(verdict),
        tables=_slice_tables(verdict.checks),
        discovered=_discovered(verdict),
        variants=page.variants,
        variant_rows=variant_rows,
        variant_columns=variant_columns,
        robustness=_rows([check for check in verdict.checks if check.kind == "robustness"]),
        calibration=_rows([check for check in verdict.checks if check.kind == "calibration"]),
        plot=plot(page.reliability),
        thresholds=page.thresholds,
        decisions=_decisions(page.thresholds),
        errors=_error_rows(verdict.errors),
        open_errors=_OPEN_ERRORS,
        open_rows=_OPEN_ROWS,
        max_rows=_MAX_ROWS,
        galleries=_within_budget(page.galleries),
        max_pictures=MAX_PICTURES,
        wrong_cases=[case for case in verdict.cases if case.given != case.wanted],
        attempt=attempt_sentence(verdict),
        policy=sorted((key, _policy_text(value)) for key, value in verdict.policy.items()),
    )


def _check_tables(verdict: Verdict) -> dict[str, object]:
    overall, blocks = find_overall(verdict.checks), blocking(verdict.checks)
    found, elsewhere = blocking_checks(verdict.checks), {"slice", "critical-slice", "discovered-slice", "robustness"}
    rest = findings_first(check for check in verdict.checks if check.kind not in elsewhere and check not in found)
    return {
        "overall": _rows([overall])[0] if overall else None,
        "confidence": f"{100 - verdict.alpha * 100:.5g} %",
        "num_blocking": len(found),
        "blocking": _blocking_table(blocks, explained_by(found)),
        "waived": _rows(waived_checks(verdict.checks)),
        "labels": labels_needed(verdict.checks),
        "checks": _check_table([check for check in rest if not is_figure(check)]),
        "figures": [(row, heat(_gain(row.check))) for row in _rows([check for check in rest if is_figure(check)])],
    }


def _blocking_table(blocks: Blocking, explained: Mapping[str, str]) -> Table:
    reach = reach_of([*blocks.open, *blocks.folded])
    shown, folded = _rows(blocks.open, reach), _rows(blocks.folded[:_MAX_ROWS], reach)
    parts = [(row, explained.get(row.check.slice)) for row in folded]
    folded = [replace(row, note=f"part of {whole} · {row.note}") if whole else row for row, whole in parts]
    return _folded(shown, folded, blocks.more, len(blocks.folded) - len(folded))


def _check_table(checks: Sequence[Check]) -> Table:
    return _folded(_rows(checks), (), "", 0)


def _folded(shown: Sequence[Row], folded: Sequence[Row], more: str, num_left: int) -> Table:
    """One or two intervals in a column would leave it empty; they are in the figures too."""
    rows = [*shown, *folded]
    drawn = 2 * sum(row.bar is not None for row in rows) >= len(rows) > 0
    return Table("", "", tuple(shown), tuple(folded), more, num_left, any(row.change for row in rows), drawn)


def _gain(check: Check) -> float | None:
    return -loss(check) if is_difference(check) else None


def _slice_tables(checks: Iterable[Check]) -> list[Table]:
    slices = worst_slices_first(check for check in checks if check.kind != "discovered-slice")
    kinds: list[tuple[str, str, list[Check]]] = [
        ("Critical", "each must be shown not to be worse", []),
        ("Declared", "attributes and classes of the data", []),
        ("Crosses", "two attributes at once", []),
        ("Image properties", "the lowest and the highest third of the images", []),
    ]
    for check in slices:
        place = 0 if check.kind == "critical-slice" else 2 if CROSS in check.slice else 3 if check.slice.startswith(PROPERTY_PREFIX) else 1
        kinds[place][2].append(check)
    # A drawing is compared with its neighbours: all slices share one scale.
    reach = reach_of(slices)
    return [_table(title, note, _rows(found, reach)) for title, note, found in kinds if found]


def _table(title: str, note: str, rows: Sequence[Row]) -> Table:
    shown = rows[:_MAX_ROWS]
    start = _OPEN_ROWS if len(shown) > _OPEN_ROWS else len(shown)
    more, num_left = count_of(len(shown) - start, "more slice"), len(rows) - len(shown)
    paired, drawn = any(row.change for row in rows), any(row.bar for row in rows)
    return Table(title, note, tuple(shown[:start]), tuple(shown[start:]), more, num_left, paired, drawn)


def _rows(checks: Sequence[Check], reach: float = 0.0) -> list[Row]:
    scale = reach or reach_of(checks)
    return [_row(check, scale) for check in checks]


def _row(check: Check, reach: float) -> Row:
    return Row(
        check=check,
        word=_WORDS[check.outcome],
        sign=_SIGNS[check.outcome],
        old=value_text(check, check.reference),
        new=value_text(check, check.value),
        change=change_text(check),
        interval=interval_text(check),
        images=images_text(check) if check.num_images else "",
        note=_note(check),
        bar=bar(check, reach),
        twin=twin(check),
    )


def _note(check: Check) -> str:
    # A slice's p-value is small when a loss is shown, that of non-inferiority when a loss is ruled out.
    whose, p_value = "non-inferiority p" if "non-inferiority" in check.test else "p", p_text(check)
    told = f"{whose} {p_value if p_value.startswith('<') else f'= {p_value}'}" if p_value else ""
    return " · ".join(part for part in (images_text(check) if check.num_images else "", told, check.detail) if part)


def _discovered(verdict: Verdict) -> Table | None:
    """Weak slices that nobody declared, with what they explain: their masks cover one half of the images, so it may be more."""
    found = worst_slices_first(check for check in verdict.checks if check.kind == "discovered-slice")
    rows = [replace(row, note=explains(row.check, verdict.flips.num_broken)) for row in _rows(found)]
    return _table("", "", rows) if rows else None


@dataclass(frozen=True)
class VariantView:
    """One variant's column: ``cells`` are (value, change, colour) per shown row."""

    column: VariantColumn
    sign: str
    cells: tuple[tuple[str, str, str], ...]
    drop: str


def _variants(table: VariantTable | None) -> tuple[list[tuple[str, int]], list[VariantView]]:
    """Rows as (slice, images): overall, slices that are no crosses, crosses; in each, those first on which any variant loses most."""
    if table is None or not table.slices:
        return [], []

    def worst(row: int) -> tuple[bool, float]:
        return CROSS in table.slices[row], min((column.estimates[row] or 0.0 for column in table.columns), default=0.0)

    rows = [0, *sorted(range(1, len(table.slices)), key=worst)][:_MAX_VARIANT_ROWS]
    views = [_variant(column, table.slices, rows) for column in table.columns]
    return [(table.slices[row], table.num_images[row]) for row in rows], views


def _variant(column: VariantColumn, slices: Sequence[str], rows: Sequence[int]) -> VariantView:
    known = [(estimate, name) for estimate, name in zip(column.estimates[1:], slices[1:], strict=False) if estimate is not None]
    lowest = min(known, default=(0.0, ""))
    cells = []
    for row in rows:
        value, estimate = column.values[row], column.estimates[row]
        change = "" if estimate is None else points(estimate)
        cells.append(("–" if value is None else percent(value), change, heat(estimate)))
    sign = next((sign for outcome, sign in _SIGNS.items() if outcome == column.outcome), "")
    return VariantView(column, sign, tuple(cells), f"{lowest[1]} {points(lowest[0])}" if lowest[0] < 0 else "")


@dataclass(frozen=True)
class Decision:
    """One class's threshold in words; ``tone`` and ``sign`` are those of an outcome."""

    row: ThresholdRow
    threshold: str
    standing: str
    tone: CheckOutcome
    sign: str


_STANDINGS: dict[str, CheckOutcome] = {"reached": "pass", "within chance": "inconclusive", "missed": "fail", "unknown": "info"}


def _decisions(table: ThresholdTable | None) -> list[Decision]:
    """Classes with a threshold first."""
    if table is None:
        return []
    return [_decision(table, row) for row in sorted(table.rows, key=lambda row: row.threshold is None)]


def _decision(table: ThresholdTable, row: ThresholdRow) -> Decision:
    standing = table.standing(row.golden)
    tone = _STANDINGS[standing]
    return Decision(row, "" if row.threshold is None else _threshold_text(row.threshold), standing, tone, _SIGNS[tone])


def _threshold_text(threshold: float) -> str:
    # Rounded up, so that what is read keeps no more answers than what was chosen; close to 100 % a digit says nothing.
    digits = 1 if threshold < 0.99 else 3
    return f"{ceil(threshold * 100 * 10**digits - 1e-9) / 10**digits:.{digits}f} %"


def _error_rows(errors: Sequence[Confusion]) -> list[ErrorRow]:
    """Biggest increases first; without a reference the most frequent first."""
    ordered = sorted(errors, key=lambda error: (-(error.candidate - (error.reference or 0)), -error.candidate))
    most = max((count for error in errors for count in (error.candidate, error.reference or 0)), default=1) or 1
    return [_error_row(error, most) for error in ordered]


def _error_row(error: Confusion, most: int) -> ErrorRow:
    grown = 0 if error.reference is None else error.candidate - error.reference
    change = "" if error.reference is None else f"{'+' if grown > 0 else '−' if grown < 0 else ''}{abs(grown)}"
    tone = "more" if grown > 0 else "less" if grown < 0 else ""
    return ErrorRow(error, change, tone, round((error.reference or 0) / most * 100, 1), round(error.candidate / most * 100, 1))


def _within_budget(galleries: Sequence[Gallery]) -> list[Gallery]:
    """The galleries with as many pictures as fit into the page; each keeps its total."""
    left, kept = _PICTURE_BUDGET, []
    for gallery in galleries:
        pictures = []
        for picture in gallery.pictures:
            if len(picture.uri) <= left:
                left -= len(picture.uri)
                pictures.append(picture)
        kept.append(replace(gallery, pictures=tuple(pictures)))
    return kept


def _policy_text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return "not set" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
