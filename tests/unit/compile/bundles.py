"""Tiny trained bundles."""

from pathlib import Path
from typing import Any

from sightline.data.version import DatasetVersion
from sightline.models import weights
from sightline.models.bundle import TRAINED, BundleInfo, ModelBundle, Preprocessing
from sightline.models.network import build
from sightline.store.artifact import commit_artifact


def trained_bundle(folder: Path, dataset: DatasetVersion, *, steps: int = 0, width: int = 8) -> ModelBundle:
    """A bundle whose network saw the training images ``steps`` times; 0 leaves the seeded random weights."""
    import torch

    torch.manual_seed(7)
    digests = {name: dataset.info.digests[name] for name in ("train", "val")}
    info = BundleInfo(classes=dataset.info.classes, backbone="compact", width=width, embedding_dim=16 * width, dataset_digests=digests)
    preprocessing = Preprocessing(size_px=dataset.info.image_size_px)
    network = build(info, preprocessing)
    train = dataset.split("train")
    images, labels = torch.from_numpy(train.pixels_NHWC.copy()), torch.from_numpy(train.labels_N)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images)[0], labels).backward()
        optimiser.step()

    def write(target: Path) -> dict[str, Any]:
        weights.save(target, network)
        (target / "model.json").write_text(info.model_dump_json())
        (target / "preprocessing.json").write_text(preprocessing.model_dump_json())
        return {}

    return ModelBundle(commit_artifact(folder, TRAINED, write))
