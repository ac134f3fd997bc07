"""Our drift tests beside Evidently's DataDriftPreset on the same frames: seconds, and how often each raises a false or a right alarm.

Run: python -m benchmarks.drift [--json] [--rows 10000] [--streams 40]. About one minute on two cores. Both sides look at the same seven
columns (five image properties, confidence, label; ours also tests the embeddings, which the preset does not). Imports are not counted. An
alarm is any drifted signal or column with the defaults of each side: ours corrects over all signals, the preset tests each column alone.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from sightline.config.monitor import MonitorConfig
from sightline.images import PROPERTIES
from sightline.monitor.drift import compare
from sightline.monitor.evidently_report import CATEGORICAL, NUMERICAL, frame
from sightline.monitor.sample import Sample

CLASSES = ("dent", "ok", "scratch")
EMBEDDING_DIM = 64


def stream(num: int, rng: np.random.Generator, *, shift: float = 0.0) -> Sample:
    """Images whose properties share one cause, as light does; ``shift`` is in standard deviations of brightness."""
    light = rng.normal(size=num)
    properties = {name: 0.5 + 0.05 * (light + rng.normal(size=num)) / 2**0.5 for name in PROPERTIES}
    properties["brightness"] = properties["brightness"] - 0.05 * shift
    return Sample(
        ids=tuple(map(str, range(num))),
        labels=tuple(rng.choice(CLASSES, size=num, p=(0.2, 0.5, 0.3))),
        confidence_N=rng.beta(8, 2, size=num),
        properties=properties,
        embeddings_ND=rng.normal(size=(num, EMBEDDING_DIM)) + 0.3 * light[:, None] + 0.3 * shift,
    )


def ours(reference: Sample, served: Sample, *, seed: int = 7) -> bool:
    """Whether any of our signals drifted."""
    return any(signal.drifted for signal in compare(reference, served, MonitorConfig(seed=seed)))


def evidently(reference: Sample, served: Sample) -> bool:
    """Whether Evidently, with its defaults, calls any column drifted."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(NUMERICAL), categorical_columns=list(CATEGORICAL))
    sides = [Dataset.from_pandas(frame(side), definition) for side in (served, reference)]
    snapshot: dict[str, Any] = Report([DataDriftPreset()]).run(*sides).dict()
    count = next(metric["value"]["count"] for metric in snapshot["metrics"] if metric["metric_name"].startswith("DriftedColumnsCount"))
    return bool(count > 0)


def seconds(call: Callable[[Sample, Sample], bool], reference: Sample, served: Sample, *, rounds: int) -> float:
    """The shortest of some rounds."""
    durations = []
    for _ in range(rounds):
        start = time.perf_counter()
        call(reference, served)
        durations.append(time.perf_counter() - start)
    return min(durations)


def alarm_share(call: Callable[[Sample, Sample], bool], *, shift: float, num_streams: int, num_images: int) -> float:
    """The share of streams on which the check raises an alarm."""
    alarms = 0
    for seed in range(num_streams):
        rng = np.random.default_rng(seed)
        alarms += call(stream(num_images, rng), stream(num_images, rng, shift=shift))
    return alarms / num_streams


def measure(num_rows: int, num_streams: int) -> dict[str, Any]:
    """All figures, each measured on the same streams for both sides."""
    rng = np.random.default_rng(0)
    reference, served = stream(num_rows, rng), stream(num_rows, rng, shift=0.5)
    checks = {"sightline": ours, "evidently": evidently}
    for call in checks.values():
        call(stream(100, rng), stream(100, rng))  # imports and first-call work
    timed = {name: seconds(call, reference, served, rounds=3) for name, call in checks.items()}
    small = {"num_streams": num_streams, "num_images": 300}
    return {
        "rows": num_rows,
        "seconds": timed,
        "ratio": timed["evidently"] / timed["sightline"],
        "false_alarm_share": {name: alarm_share(call, shift=0.0, **small) for name, call in checks.items()},
        "detected_share": {name: alarm_share(call, shift=0.5, **small) for name, call in checks.items()},
        **small,
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=40)
    arguments = parser.parse_args()
    os.environ.update({"DO_NOT_TRACK": "true", "EVIDENTLY_DISABLE_TELEMETRY": "true"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = measure(arguments.rows, arguments.streams)
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['rows']} rows a side: " + " · ".join(f"{name} {value:.2f} s" for name, value in result["seconds"].items()))
    print(f"ratio {result['ratio']:.1f}× (ours includes the embedding test)")
    print(f"on {result['num_streams']} streams of {result['num_images']} images:")
    for title, key in (
        ("false alarms, nothing drifted", "false_alarm_share"),
        ("alarms, brightness half a deviation lower", "detected_share"),
    ):
        print(f"  {title}: " + " · ".join(f"{name} {value:.0%}" for name, value in result[key].items()))


if __name__ == "__main__":
    main()
