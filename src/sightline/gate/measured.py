"""What the candidate's folder says about itself: the size of what ships, and its measured latency."""

from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.gate.evidence import Latency
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import EAGER

BENCHMARK = "benchmark.json"
WEIGHTS = "weights.safetensors"


class _Variant(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    name: str
    status: Literal["ok", "unavailable", "rejected"]
    p95_ms: float | None = None


class _Benchmark(BaseModel):
    model_config = ConfigDict(frozen=True)
    variants: tuple[_Variant, ...]
    chosen: str


def size_bytes(bundle: ModelBundle, variant: str) -> int:
    """The bytes of the variant's file and of those that share its stem (``x.xml`` and ``x.bin``); 0 when there are none."""
    name = WEIGHTS if variant == EAGER else bundle.info.variants.get(variant, "")
    stem = PurePosixPath(name).with_suffix("").as_posix() + "." if name else ""
    return sum(entry.size_bytes for entry in bundle.artifact.manifest.files if name and (entry.path == name or entry.path.startswith(stem)))


def latency(bundle: ModelBundle, variant: str) -> Latency:
    """The measured p95 of the variant; without a usable figure the reason, never a guess."""
    if all(entry.path != BENCHMARK for entry in bundle.artifact.manifest.files):
        return Latency(None, f"the model has no {BENCHMARK}, so its latency is unknown")
    try:
        benchmark = _Benchmark.model_validate_json(bundle.artifact.file(BENCHMARK).read_bytes())
    except ValidationError as error:
        return Latency(None, f"{BENCHMARK} is damaged: {error.error_count()} invalid fields")
    found = next((row for row in benchmark.variants if row.name == variant), None)
    if benchmark.chosen != variant or found is None:
        return Latency(None, f"{BENCHMARK} is about '{benchmark.chosen}', the model ships '{variant}'")
    if found.status != "ok" or found.p95_ms is None or found.p95_ms <= 0:
        return Latency(None, f"{BENCHMARK} has no p95 for '{variant}'")
    return Latency(found.p95_ms)
