"""Real bundles of a small network that learns the tiny dataset in seconds."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from sightline.data.version import DatasetVersion
from sightline.models.bundle import COMPILED, TRAINED, BundleInfo, ModelBundle, Preprocessing
from sightline.store.artifact import commit_artifact
from tests.datasets import CLASSES

SIZE_PX = 24
VARIANT = "onnxruntime-fp32"


def bundle_info(**changes) -> BundleInfo:
    from sightline.models.backbones import embedding_dim

    fields = {"classes": CLASSES, "backbone": "compact", "width": 8, "embedding_dim": embedding_dim("compact", 8), "dataset_digests": {}}
    return BundleInfo(**fields | changes)


def learn(dataset: DatasetVersion) -> torch.nn.Module:
    """A network that is right on nearly all images of the dataset; the training split has to be about 240 images."""
    from sightline.models.network import build

    torch.manual_seed(0)
    network = build(bundle_info(), Preprocessing(size_px=SIZE_PX))
    split = dataset.split("train")
    images, labels = torch.from_numpy(np.array(split.pixels_NHWC)), torch.from_numpy(split.labels_N)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(3):
        for rows in torch.randperm(len(labels)).split(50):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(images[rows])[0], labels[rows]).backward()
            optimiser.step()
    return network.eval()


def without(network: torch.nn.Module, class_name: str) -> torch.nn.Module:
    """A copy that never answers with the class."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.head.bias[CLASSES.index(class_name)] = -1e4
    return other


def export(network: torch.nn.Module, path: Path) -> Path:
    from sightline.compile.export import export_onnx

    export_onnx(network, path, size_px=SIZE_PX)
    return path


def commit_bundle(target: Path, network: torch.nn.Module, *, onnx: Path | None = None, p95_ms: float = 2.0) -> ModelBundle:
    """A trained bundle, or with an ONNX file a compiled one that ships it."""
    from sightline.models.weights import save

    def write(folder: Path) -> dict[str, object]:
        save(folder, network)
        (folder / "preprocessing.json").write_text(Preprocessing(size_px=SIZE_PX).model_dump_json())
        variants = {} if onnx is None else {VARIANT: "model.onnx"}
        (folder / "model.json").write_text(bundle_info(chosen=VARIANT if onnx else "", variants=variants).model_dump_json())
        if onnx is not None:
            shutil.copy(onnx, folder / "model.onnx")
            rows = [{"name": VARIANT, "status": "ok", "reason": "", "p50_ms": 1.0, "p95_ms": p95_ms, "throughput_ips": 900.0}]
            (folder / "benchmark.json").write_text(json.dumps({"variants": rows, "chosen": VARIANT}))
        return {}

    return ModelBundle(commit_artifact(target, COMPILED if onnx else TRAINED, write))
