from types import SimpleNamespace

import pytest

from sightline.compile.export import export_onnx
from sightline.models.weights import load_network
from tests.datasets import tiny_dataset
from tests.unit.compile.bundles import trained_bundle

COUNTS = {"train": 60, "val": 30, "golden": 60}


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A tiny dataset, a bundle trained on it for a few steps, its network and the exported file."""
    folder = tmp_path_factory.mktemp("exported")
    dataset = tiny_dataset(folder / "dataset", counts=COUNTS)
    bundle = trained_bundle(folder / "model", dataset, steps=80)
    network = load_network(bundle)
    export_onnx(network, folder / "model.onnx", size_px=dataset.info.image_size_px)
    return SimpleNamespace(dataset=dataset, bundle=bundle, network=network, onnx=folder / "model.onnx")
