"""Which variant ships: the fastest of those that still answer like the trained network."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from sightline.config.compile import CompileConfig
from sightline.errors import SightlineError
from sightline.runtimes.base import EAGER

# On a machine with other work, latencies this close are the same; the throughput decides.
_TIE = 1.03
# Shares of images are fractions; 0.01 must allow 1 image of 100.
_ROUNDING = 1e-9


class Row(BaseModel):
    """One line of ``benchmark.json``: a variant, what it costs and how it answers on the golden images.

    ``reason`` says why it is unavailable or rejected. Figures are None where nothing could be measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str
    status: Literal["ok", "unavailable", "rejected"]
    reason: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None
    throughput_ips: float | None = None
    size_bytes: int | None = None
    accuracy: float | None = None
    agreement: float | None = None
    max_abs_diff: float | None = None


class Benchmark(BaseModel):
    """``benchmark.json``: every variant, with eager PyTorch first, the one that ships, and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    variants: tuple[Row, ...]
    chosen: str
    machine: dict[str, object]

    def row(self, name: str) -> Row:
        """The line of one variant."""
        return next(row for row in self.variants if row.name == name)


def judge(row: Row, eager: Row, config: CompileConfig) -> Row:
    """The row, rejected with every reason when it misses a constraint; unavailable ones stay unavailable."""
    if row.status == "unavailable":
        return row
    misses = []
    accuracy, agreement = row.accuracy or 0.0, row.agreement or 0.0
    drop = (eager.accuracy or 0.0) - accuracy
    if drop > config.max_accuracy_drop + _ROUNDING:
        misses.append(f"accuracy {accuracy:.4f} is {drop:.4f} below eager, at most {config.max_accuracy_drop:g} is allowed")
    if agreement < config.min_agreement - _ROUNDING:
        misses.append(f"agrees with eager on {agreement:.4f} of the images, at least {config.min_agreement:g} is required")
    if row.p50_ms is None:
        misses.append("it was not measured")
    return row.model_copy(update={"status": "rejected", "reason": "; ".join(misses)}) if misses else row


def choose(rows: tuple[Row, ...]) -> Row:
    """The judged row with the smallest median latency; among those within 3 % of it, the one with the highest throughput.

    Raises:
        SightlineError: no variant holds the constraints; says by how much each one missed.
    """
    eligible = [row for row in rows if row.status == "ok" and row.name != EAGER and row.p50_ms is not None]
    if not eligible:
        reasons = [f"  - {row.name}: {row.status}, {row.reason}" for row in rows if row.name != EAGER]
        message = "\n".join(["no variant can ship: none holds the constraints", *reasons])
        raise SightlineError(
            message, remedy="add variants (compile.variants), or allow more (compile.max_accuracy_drop, compile.min_agreement)"
        )
    fastest = min(row.p50_ms for row in eligible if row.p50_ms is not None)
    tied = [row for row in eligible if row.p50_ms is not None and row.p50_ms <= fastest * _TIE]
    return max(tied, key=lambda row: row.throughput_ips or 0.0)
