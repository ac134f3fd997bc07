"""Times variants side by side, so that whatever else the machine does hits all of them alike."""

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.runtimes.base import Predictor

_WARM_UP_CALLS = 5
# A round times several calls: one would give 40 samples in all, of which the p95 is two.
_CALLS_PER_ROUND = 5
_THROUGHPUT_ROUNDS = 5
_LIBRARIES = ("numpy", "nncf", "onnx", "onnxruntime", "openvino", "torch")


@dataclass(frozen=True)
class Timing:
    """Latency of one image in milliseconds (median and 95th percentile), and images per second in batches."""

    p50_ms: float
    p95_ms: float
    throughput_ips: float


def measure(
    predictors: Mapping[str, Predictor], images_NHWC: npt.NDArray[np.uint8], *, rounds: int, throughput_batch: int
) -> dict[str, Timing]:
    """The timing of each predictor.

    Every round times every predictor, starting with another one each time. Cost: ``5 × rounds`` images and five batches per predictor.

    Args:
        predictors: by name, all alive at the same time.
        images_NHWC: real images, at least one; they are repeated to fill a batch.
        rounds: interleaved rounds.
        throughput_batch: images per batch of the throughput figure.
    """
    images = np.ascontiguousarray(np.resize(images_NHWC, (throughput_batch, *images_NHWC.shape[1:])))
    single = _interleaved(predictors, images[:1], rounds, _CALLS_PER_ROUND)
    batches = _interleaved(predictors, images, _THROUGHPUT_ROUNDS, 1)
    return {
        name: Timing(
            p50_ms=float(np.median(single[name])) * 1e3,
            p95_ms=float(np.percentile(single[name], 95)) * 1e3,
            throughput_ips=throughput_batch / float(np.median(batches[name])),
        )
        for name in predictors
    }


def _interleaved(predictors: Mapping[str, Predictor], images: npt.NDArray[np.uint8], rounds: int, calls: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    names = list(predictors)
    for name in names:
        for _ in range(min(_WARM_UP_CALLS, rounds)):
            predictors[name].predict(images)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            for _ in range(calls):
                before = time.perf_counter()
                predictors[name].predict(images)
                seconds[name].append(time.perf_counter() - before)
    return seconds


def describe_machine(num_threads: int) -> dict[str, object]:
    """What the figures were measured on: CPU model, cores that this process may use, threads per session, versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in _LIBRARIES}}
    return {"cpu": _cpu_model(), "cores": cores, "threads": num_threads, "versions": versions}


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
