"""What a candidate costs: the size of what ships, its measured latency, its memory, and its speed beside the champion's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.config.gate import GateConfig
from sightline.errors import SightlineError
from sightline.evaluate.verdict import Stage
from sightline.gate.memory import Memory, measure_memory
from sightline.gate.timing import Comparison, Contender, compare
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import EAGER, load_predictor

BENCHMARK = "benchmark.json"
WEIGHTS = "weights.safetensors"

# The comparison needs a few different images, not all of them.
_NUM_IMAGES = 16


class BenchmarkRow(BaseModel):
    """One variant in ``benchmark.json``; figures are None where nothing could be measured, ``reason`` says why."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    name: str
    status: Literal["ok", "unavailable", "rejected"]
    reason: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None


class _Benchmark(BaseModel):
    model_config = ConfigDict(frozen=True)
    variants: tuple[BenchmarkRow, ...]
    chosen: str


@dataclass(frozen=True)
class Latency:
    """The measured median and 95th percentile of a variant at batch 1 in milliseconds, or why there are none."""

    p50_ms: float | None = None
    p95_ms: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Incumbent:
    """The model that serves now, and images to ask both for.

    Attributes:
        pixels_NHWC: real images, uint8 RGB squares of any size, at least one.
    """

    bundle: ModelBundle
    variant: str
    pixels_NHWC: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Measured:
    """What a candidate costs; figures are None where they were not asked for or could not be had.

    Attributes:
        size_bytes: of what ships; 0 when the bundle has no such file.
        p50_ms: median latency at batch 1.
        p95_ms: 95th percentile of the latency at batch 1.
        memory_mb: resident memory that loading and answering add to a process.
        against_champion: candidate and champion timed in turn.
        problem: why a figure that was asked for is missing, by ``latency``, ``memory`` and ``champion``.
    """

    size_bytes: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_mb: float | None = None
    against_champion: Comparison | None = None
    problem: Mapping[str, str] = field(default_factory=dict)


def measure(bundle: ModelBundle, variant: str, policy: GateConfig, *, stage: Stage, incumbent: Incumbent | None = None) -> Measured:
    """The figures that the policy needs; a trained candidate has a size only, since it does not ship as it is.

    Cost: memory takes a second and is measured only with ``max_memory_mb``; the comparison takes at most three seconds.
    """
    size = size_bytes(bundle, variant)
    if stage != "compiled":
        return Measured(size)
    latency = measured_latency(bundle, variant)
    memory = Memory() if policy.max_memory_mb is None else measure_memory(bundle, variant)
    comparison, refused = compare_latency(bundle, variant, incumbent) if incumbent else (None, "")
    problems = {"latency": latency.problem, "memory": memory.problem, "champion": refused}
    return Measured(
        size_bytes=size,
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        memory_mb=memory.added_mb,
        against_champion=comparison,
        problem={name: text for name, text in problems.items() if text},
    )


def size_bytes(bundle: ModelBundle, variant: str) -> int:
    """The bytes of the variant's file and of those that share its stem (``x.xml`` and ``x.bin``); 0 when there are none."""
    name = WEIGHTS if variant == EAGER else bundle.info.variants.get(variant, "")
    stem = PurePosixPath(name).with_suffix("").as_posix() + "." if name else ""
    return sum(entry.size_bytes for entry in bundle.artifact.manifest.files if name and (entry.path == name or entry.path.startswith(stem)))


def measured_latency(bundle: ModelBundle, variant: str) -> Latency:
    """The latency that was measured when the bundle was compiled; without a usable p95 the reason, never a guess."""
    benchmark = _read_benchmark(bundle)
    if isinstance(benchmark, str):
        return Latency(problem=benchmark)
    found = next((row for row in benchmark.variants if row.name == variant), None)
    if benchmark.chosen != variant or found is None:
        return Latency(problem=f"{BENCHMARK} is about '{benchmark.chosen}', the model ships '{variant}'")
    if found.status != "ok" or found.p95_ms is None or found.p95_ms <= 0:
        return Latency(problem=f"{BENCHMARK} has no p95 for '{variant}'")
    return Latency(found.p50_ms if found.p50_ms and found.p50_ms > 0 else None, found.p95_ms)


def benchmark_rows(bundle: ModelBundle) -> tuple[BenchmarkRow, ...]:
    """What was measured of each variant when the bundle was compiled; empty for a bundle without a readable benchmark."""
    benchmark = _read_benchmark(bundle)
    return () if isinstance(benchmark, str) else benchmark.variants


def _read_benchmark(bundle: ModelBundle) -> _Benchmark | str:
    if all(entry.path != BENCHMARK for entry in bundle.artifact.manifest.files):
        return f"the model has no {BENCHMARK}, so its latency is unknown"
    try:
        return _Benchmark.model_validate_json(bundle.artifact.file(BENCHMARK).read_bytes())
    except ValidationError as error:
        return f"{BENCHMARK} is damaged: {error.error_count()} invalid fields"


def compare_latency(bundle: ModelBundle, variant: str, incumbent: Incumbent) -> tuple[Comparison | None, str]:
    """Candidate and champion timed in turn on one thread, or why they could not be."""
    if (bundle.digest, variant) == (incumbent.bundle.digest, incumbent.variant):
        return None, "the candidate is the champion"
    try:
        contenders = [
            Contender(load_predictor(which, name), _at_size(incumbent.pixels_NHWC[:_NUM_IMAGES], which.preprocessing.size_px))
            for which, name in ((bundle, variant), (incumbent.bundle, incumbent.variant))
        ]
    except SightlineError as error:
        return None, error.message.splitlines()[0]
    comparison = compare(contenders[0], contenders[1])
    return comparison, "" if comparison else "the models are too slow to be timed here"


def _at_size(pixels_NHWC: npt.NDArray[np.uint8], size_px: int) -> npt.NDArray[np.uint8]:
    from sightline.images import resize

    return np.stack([resize(np.ascontiguousarray(image), size_px) for image in pixels_NHWC])
