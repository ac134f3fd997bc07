"""The table of variants as a page and as Markdown."""

from collections.abc import Callable
from pathlib import Path

from sightline.compile.select import Benchmark, Row
from sightline.config.compile import CompileConfig
from sightline.runtimes.base import EAGER

_BAR_PX = 180


def headline(benchmark: Benchmark) -> str:
    """One line: what ships, how fast, what it costs in accuracy, what this machine could not run."""
    chosen, eager = benchmark.row(benchmark.chosen), benchmark.row(EAGER)
    parts = [
        f"{chosen.name} chosen",
        f"p50 {_ms(chosen.p50_ms)} (×{speedup(benchmark):.1f} eager)",
        f"accuracy {100 * ((chosen.accuracy or 0.0) - (eager.accuracy or 0.0)):+.1f} pts".replace("-", "−"),
    ]
    for status in ("rejected", "unavailable"):
        names = [row.name for row in benchmark.variants if row.status == status]
        parts += [f"{', '.join(names)} {status}"] if names else []
    return " · ".join(parts)


def speedup(benchmark: Benchmark) -> float:
    """Median latency of eager PyTorch over that of the chosen variant."""
    return (benchmark.row(EAGER).p50_ms or 0.0) / (benchmark.row(benchmark.chosen).p50_ms or float("inf"))


def write_report(folder: Path, benchmark: Benchmark, config: CompileConfig) -> None:
    """Writes ``report.html`` (self-contained) and ``summary.md``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ms=_ms, share=_share, size=_size, count=_count, bar=_bar(benchmark.variants))
    values = {"benchmark": benchmark, "config": config, "headline": headline(benchmark), "bar_px": _BAR_PX}
    for template, name in (("report.html.j2", "report.html"), ("summary.md.j2", "summary.md")):
        (folder / name).write_text(environment.get_template(template).render(values), encoding="utf-8")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ms" if value < 100 else f"{value:.0f} ms"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}".replace(",", " ")


def _size(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.2f} MB"


def _bar(rows: tuple[Row, ...]) -> Callable[[float | None], float]:
    longest = max((row.p50_ms or 0.0 for row in rows), default=0.0)

    def width(value: float | None) -> float:
        return round(_BAR_PX * (value or 0.0) / longest, 1) if longest else 0.0

    return width
