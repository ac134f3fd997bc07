"""Our choice of variant against every policy that always takes the same backend, and against eager PyTorch.

Run: python -m benchmarks.compile [--json] [--threads 1]. About one minute on two cores. The choice is made on one measurement and judged on
a second one; all variants are timed in turns. A policy that breaks the accuracy constraints on a network is shown and not counted there.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from sightline.compile.benchmark import describe_machine, measure
from sightline.compile.calibration import choose_calibration
from sightline.compile.export import export_onnx
from sightline.compile.parity import compare
from sightline.compile.select import Row, choose, judge
from sightline.compile.variants import MODEL, build_variant, open_variant
from sightline.config.compile import CompileConfig, Variant
from sightline.data.version import Split
from sightline.models.bundle import BundleInfo, Preprocessing
from sightline.models.network import build
from sightline.runtimes.base import EAGER, Predictor, UnavailableError
from sightline.runtimes.eager import EagerPredictor
from tests.datasets import CLASSES, shape_image

POLICIES: tuple[Variant, ...] = ("onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32", "openvino-bf16", "openvino-int8")
CONFIG = CompileConfig(variants=POLICIES, max_accuracy_drop=0.02, min_agreement=0.95)


class Separable(nn.Module):
    """Depthwise and pointwise convolutions, as in MobileNet: little arithmetic per byte, where INT8 gains least."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.ReLU6()]
        for channels in (32, 64, 128):
            layers += [nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels), nn.BatchNorm2d(channels), nn.ReLU6()]
            layers += [nn.Conv2d(channels, 2 * channels, 1), nn.BatchNorm2d(2 * channels), nn.ReLU6()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(256, len(CLASSES))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding for uint8 NHWC images."""
        embedding = self.body((images.float() / 127.5 - 1).permute(0, 3, 1, 2))
        return self.head(embedding), embedding


def compact(width: int) -> nn.Module:
    """The built-in network."""
    info = BundleInfo(classes=CLASSES, backbone="compact", width=width, embedding_dim=8 * width, dataset_digests={})
    return build(info, Preprocessing(size_px=64))


def images_of(name: str, num_images: int, size_px: int, seed: int) -> Split:
    """A split of shapes that a network learns in seconds."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_images) % len(CLASSES)
    pixels = np.stack([shape_image(int(label), size_px, rng) for label in labels])
    ids = tuple(f"{name}-{number}" for number in range(num_images))
    return Split(name, ids, labels, pd.DataFrame(index=range(num_images)), ids, pixels)


def train(network: nn.Module, split: Split, *, steps: int) -> None:
    """Enough training for answers with some confidence; random weights would make parity meaningless."""
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    images, labels = torch.from_numpy(split.pixels_NHWC), torch.from_numpy(split.labels_N)
    for step in range(steps):
        rows = torch.arange(step * 32, step * 32 + 32) % len(images)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images[rows])[0], labels[rows]).backward()
        optimiser.step()
    network.eval()


def run_network(name: str, network: nn.Module, size_px: int, num_threads: int) -> dict[str, Any]:
    """Trains, builds every policy's variant, chooses on one measurement and times on a second one."""
    train(network, images_of("train", 192, size_px, 1), steps=60)
    val, golden = images_of("val", 64, size_px, 2), images_of("golden", 160, size_px, 3)
    calibration = choose_calibration(val, golden, CLASSES, num_images=64, seed=7)
    predictors: dict[str, Predictor] = {EAGER: EagerPredictor(network, num_threads)}
    unavailable = {}
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(network, Path(folder) / MODEL, size_px=size_px)
        for variant in POLICIES:
            try:
                files = build_variant(variant, Path(folder), calibration.images_NHWC)
                predictors[variant] = open_variant(variant, Path(folder) / files[0], num_threads=num_threads)
            except UnavailableError as error:
                unavailable[variant] = error.message
    rows = judged(predictors, val, golden, rounds=10)
    chosen = choose(tuple(rows.values())).name
    timings = measure(predictors, val.pixels_NHWC, rounds=30, throughput_batch=16)
    ours = timings[chosen].p50_ms
    lines = {
        variant: {
            "p50_ms": timing.p50_ms,
            "throughput_ips": timing.throughput_ips,
            "ratio": timing.p50_ms / ours,
            "holds": rows[variant].status == "ok",
            "agreement": rows[variant].agreement,
        }
        for variant, timing in timings.items()
    }
    return {"network": name, "size_px": size_px, "chosen": chosen, "variants": lines, "unavailable": unavailable}


def judged(predictors: dict[str, Predictor], val: Split, golden: Split, *, rounds: int) -> dict[str, Row]:
    """What the compile step sees: timings and parity, judged by the constraints."""
    timings = measure(predictors, val.pixels_NHWC, rounds=rounds, throughput_batch=16)
    answers = {name: predictor.predict(golden.pixels_NHWC) for name, predictor in predictors.items()}
    rows = {
        name: Row(name=name, status="ok", **vars(timings[name]), **vars(compare(answers[name], answers[EAGER], golden.labels_N)))
        for name in predictors
    }
    return {name: judge(row, rows[EAGER], CONFIG) for name, row in rows.items()}


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Per policy, over the networks where it holds the constraints: geometric mean and smallest ratio of its p50 to ours."""
    summary = {}
    for policy in (EAGER, *POLICIES):
        lines = [result["variants"][policy] for result in results if policy in result["variants"]]
        ratios = [line["ratio"] for line in lines if line["holds"]]
        mean = math.exp(float(np.mean(np.log(ratios)))) if ratios else None
        summary[policy] = {"mean_ratio": mean, "min_ratio": min(ratios, default=None), "breaks": len(lines) - len(ratios)}
    return summary


def show(results: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """The same figures for people."""
    for result in results:
        print(f"\n{result['network']}, {result['size_px']} px: {result['chosen']} chosen")
        for name, line in sorted(result["variants"].items(), key=lambda item: item[1]["p50_ms"]):
            note = "" if line["holds"] else f"   breaks the constraints, agrees on {line['agreement']:.3f}"
            print(f"  {name:18s} {line['p50_ms']:8.3f} ms   ×{line['ratio']:5.2f} of ours   {line['throughput_ips']:8.0f} images/s{note}")
        for name, reason in result["unavailable"].items():
            print(f"  {name:18s} unavailable: {reason}")
    print("\nalways the same backend, p50 over ours (1.00 is a tie, above is slower):")
    for name, line in summary.items():
        mean = "–" if line["mean_ratio"] is None else f"{line['mean_ratio']:.2f} mean, {line['min_ratio']:.2f} at best"
        print(f"  {name:18s} {mean}; breaks the constraints on {line['breaks']} of {len(results)} networks")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per session")
    arguments = parser.parse_args()
    torch.manual_seed(7)
    networks = (("compact-16", compact(16), 64), ("compact-32", compact(32), 96), ("separable", Separable(), 96))
    results = [run_network(name, network, size_px, arguments.threads) for name, network, size_px in networks]
    summary = summarise(results)
    if arguments.json:
        print(json.dumps({"results": results, "summary": summary, "machine": describe_machine(arguments.threads)}, indent=1))
    else:
        show(results, summary)


if __name__ == "__main__":
    main()
