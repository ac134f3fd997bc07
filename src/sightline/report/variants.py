"""Every variant on the slices where one of them loses most, ready to be shown."""

from dataclasses import dataclass

from sightline.report import figures
from sightline.report.views import ColumnView, VariantsView

MAX_SLICES = 8
_NONE = "–"


@dataclass(frozen=True)
class VariantRow:
    """One row: ``cells`` are (accuracy, change to the first column in points) per variant; the change is empty in the first one."""

    name: str
    num_images: int
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class VariantTable:
    """``num_left`` slices are not shown; all of them are in variants.json."""

    columns: tuple[ColumnView, ...]
    rows: tuple[VariantRow, ...]
    num_left: int


def variant_table(view: VariantsView | None) -> VariantTable | None:
    """Overall and the worst 8 slices of all variants; None without a table, or when its columns do not fit its rows."""
    if view is None or not view.slices or not view.columns or not _is_whole(view):
        return None
    worst = sorted(range(1, len(view.slices)), key=lambda row: _worst(view, row))[:MAX_SLICES]
    rows = tuple(_row(view, row) for row in (0, *worst))
    return VariantTable(view.columns, rows, len(view.slices) - len(rows))


def _is_whole(view: VariantsView) -> bool:
    num_rows = len(view.slices)
    filled = [len(values) for column in view.columns for values in (column.values, column.estimates)]
    return len(view.num_images) == num_rows and all(length == num_rows for length in filled)


def _worst(view: VariantsView, row: int) -> tuple[float, float]:
    changes = [column.estimates[row] for column in view.columns]
    values = [column.values[row] for column in view.columns]
    return min((x for x in changes if x is not None), default=1.0), min((x for x in values if x is not None), default=1.0)


def _row(view: VariantsView, row: int) -> VariantRow:
    return VariantRow(view.slices[row], view.num_images[row], tuple(_cell(column, row) for column in view.columns))


def _cell(column: ColumnView, row: int) -> tuple[str, str]:
    value, change = column.values[row], column.estimates[row]
    return (_NONE if value is None else figures.percent(value), "" if change is None else figures.points(change))
