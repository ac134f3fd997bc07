"""Charts as inline SVG: pure functions of numbers, coloured by the page's style sheet, readable at 300 px."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 10, 12, 30


@dataclass(frozen=True)
class Line:
    """One curve: its name, the style class that colours it (a, b, c, ref or limit), and its points."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axes:
    """What a line chart measures.

    Attributes:
        x_label: below the horizontal axis.
        unit: appended to the vertical axis' figures.
        low: lowest value that is always in view; None lets the data decide.
        high: highest value that is always in view; None lets the data decide.
    """

    x_label: str
    unit: str = ""
    low: float | None = None
    high: float | None = None


def interval_bar(
    low: float | None, estimate: float | None, high: float | None, *, margin: float | None, span: float, lower_is_better: bool = False
) -> str:
    """A difference with its interval around zero, and the margin that it must not cross.

    Args:
        low: lower bound; None draws the bar to the left edge.
        estimate: the difference; None draws no point.
        high: upper bound; None draws the bar to the right edge.
        margin: largest tolerated loss as a positive share; None draws no line.
        span: half the width of the scale, above 0.
        lower_is_better: a rise is the loss, so the margin stands to the right of zero.
    """
    width = 150.0

    def x(value: float) -> float:
        return round(width / 2 + max(-1.0, min(1.0, value / span)) * (width / 2 - 5), 1)

    start = x(-span if low is None else low)
    stop = x(span if high is None else high)
    parts = [f'<line class="grid" x1="5" y1="11" x2="{width - 5}" y2="11"/><line class="zero" x1="{x(0)}" y1="2" x2="{x(0)}" y2="20"/>']
    if margin is not None:
        at = x(margin if lower_is_better else -margin)
        parts.append(f'<line class="margin" x1="{at}" y1="2" x2="{at}" y2="20"/>')
    if low is not None or high is not None:
        parts.append(f'<line class="interval" x1="{start}" y1="11" x2="{stop}" y2="11"/>')
    if estimate is not None:
        parts.append(f'<circle class="point" cx="{x(estimate)}" cy="11" r="4"/>')
    return f'<svg class="ci" viewBox="0 0 {width:.0f} 22" width="{width:.0f}" height="22" aria-hidden="true">{"".join(parts)}</svg>'


def share_bar(value: float | None, largest: float, *, style: str = "a") -> str:
    """A horizontal bar for one value; empty without a value or a positive scale."""
    if value is None or not math.isfinite(value) or largest <= 0:
        return ""
    width = max(1.0, round(120 * max(0.0, min(1.0, value / largest)), 1))
    bar = f'<rect class="fill-{style}" width="{width}" height="10" rx="2"/>'
    return f'<svg class="bar" viewBox="0 0 120 10" width="120" height="10" aria-hidden="true">{bar}</svg>'


def line_chart(lines: Sequence[Line], axes: Axes, *, title: str) -> str:
    """Curves over a common horizontal axis; a sentence instead of a chart when no curve has two points.

    Args:
        lines: the curves; points that are not finite are left out.
        axes: labels and limits.
        title: what a screen reader says.
    """
    kept = [Line(line.name, line.style, [p for p in line.points if math.isfinite(p[0]) and math.isfinite(p[1])]) for line in lines]
    kept = [line for line in kept if len(line.points) > 1]
    if not kept:
        return '<p class="missing">Too few points for a chart.</p>'
    xs = [x for line in kept for x, _ in line.points]
    ys = [y for line in kept for _, y in line.points] + [limit for limit in (axes.low, axes.high) if limit is not None]
    x_range, y_range = _spread(min(xs), max(xs)), _spread(min(ys), max(ys))
    curves = "".join(_curve(line, x_range, y_range) for line in kept)
    return _frame(_y_axis(y_range, axes.unit) + _x_axis(x_range, axes.x_label) + curves, title) + legend(kept)


def histogram(edges: Sequence[float], reference: Sequence[float], served: Sequence[float], *, title: str) -> str:
    """Two histograms over the same edges, each as shares of its own total; a sentence when there is nothing to draw.

    Args:
        edges: one more than there are bins, ascending.
        reference: counts or shares per bin.
        served: counts or shares per bin.
        title: what a screen reader says.
    """
    num_bins = len(edges) - 1
    if num_bins < 1 or len(reference) != num_bins or len(served) != num_bins or edges[-1] <= edges[0]:
        return '<p class="missing">No histogram was recorded.</p>'
    shares = [_shares(reference), _shares(served)]
    y_range = (0.0, max([*shares[0], *shares[1]], default=0.0) or 1.0)
    x_range = (edges[0], edges[-1])
    bars = "".join(_bins(edges, values, style, x_range, y_range) for values, style in zip(shares, ("ref", "b"), strict=True))
    return _frame(_y_axis(y_range, "", share=True) + bars + _x_axis(x_range, ""), title)


def category_bars(names: Sequence[str], reference: Sequence[float], served: Sequence[float], *, title: str) -> str:
    """Two bars per category, each as a share of its own total; a sentence when there is nothing to draw.

    Args:
        names: the categories; at most twelve are drawn.
        reference: counts per category.
        served: counts per category.
        title: what a screen reader says.
    """
    if not names or len(reference) != len(names) or len(served) != len(names):
        return '<p class="missing">No histogram was recorded.</p>'
    pairs = list(zip(names, _shares(reference), _shares(served), strict=True))[:12]
    largest = max([share for _, *both in pairs for share in both], default=0.0) or 1.0
    step = (HEIGHT - 10) / len(pairs)
    rows = "".join(_category(name, both, 5 + place * step, step, largest) for place, (name, *both) in enumerate(pairs))
    return _frame(rows, title)


def _category(name: str, shares: Sequence[float], top: float, step: float, largest: float) -> str:
    height = min(11.0, step * 0.36)
    middle = top + step / 2
    parts = [f'<text x="104" y="{middle + 3.5:.1f}" text-anchor="end">{escape(name if len(name) < 18 else name[:16] + "…")}</text>']
    for share, style, y in zip(shares, ("ref", "b"), (middle - height, middle + 1), strict=True):
        width = share / largest * (WIDTH - 160)
        parts.append(f'<g class="hist hist-{style}"><rect x="110" y="{y:.1f}" width="{max(0.5, width):.1f}" height="{height:.1f}"/></g>')
        if step > 22:
            parts.append(f'<text x="{116 + width:.1f}" y="{y + height - 1.5:.1f}">{share * 100:.0f}%</text>')
    return "".join(parts)


def legend(lines: Sequence[Line]) -> str:
    """The names of the curves beside their colours."""
    items = "".join(f'<span><i class="key key-{line.style}"></i>{escape(line.name)}</span>' for line in lines)
    return f'<p class="legend">{items}</p>'


def _shares(values: Sequence[float]) -> list[float]:
    total = sum(values)
    return [value / total if total > 0 else 0.0 for value in values]


def _bins(edges: Sequence[float], shares: Sequence[float], style: str, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    parts = []
    for number, share in enumerate(shares):
        left, right = _x(edges[number], x_range), _x(edges[number + 1], x_range)
        top = _y(share, y_range)
        height = HEIGHT - _BOTTOM - top
        if height > 0:
            parts.append(f'<rect x="{left}" y="{top}" width="{max(0.5, round(right - left - 0.5, 1))}" height="{round(height, 1)}"/>')
    return f'<g class="hist hist-{style}">{"".join(parts)}</g>'


def _spread(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _x(value: float, x_range: tuple[float, float]) -> float:
    return round(_LEFT + (value - x_range[0]) / (x_range[1] - x_range[0]) * (WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float, y_range: tuple[float, float]) -> float:
    return round(HEIGHT - _BOTTOM - (value - y_range[0]) / (y_range[1] - y_range[0]) * (HEIGHT - _TOP - _BOTTOM), 1)


def _curve(line: Line, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    places = [(_x(x, x_range), _y(y, y_range)) for x, y in line.points]
    path = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(f'<circle class="dot-{line.style}" cx="{x}" cy="{y}" r="2.2"/>' for x, y in places) if 2 < len(places) <= 16 else ""
    return f'<polyline class="line line-{line.style}" points="{path}"/>{dots}'


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round figures between ``low`` and ``high``, about ``wanted`` of them; ``high`` must be above ``low``."""
    raw = (high - low) / wanted
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _y_axis(y_range: tuple[float, float], unit: str, *, share: bool = False) -> str:
    parts = []
    for value in ticks(*y_range):
        y = _y(value, y_range)
        label = f"{value * 100:g}%" if share or unit == "%" else f"{value:g}{unit}"
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 3.5}" text-anchor="end">{escape(label)}</text>')
    return "".join(parts)


def _x_axis(x_range: tuple[float, float], label: str) -> str:
    base = HEIGHT - _BOTTOM
    parts = [f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{WIDTH - _RIGHT}" y2="{base}"/>']
    parts += [f'<text x="{_x(value, x_range)}" y="{base + 13}" text-anchor="middle">{value:g}</text>' for value in ticks(*x_range)]
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="label" x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">{escape(label)}</text>')
    return "".join(parts)


def _frame(content: str, title: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{content}</svg>'
