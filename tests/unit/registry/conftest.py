from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.store.artifact import commit_artifact


def write_bundle(folder: Path, weights: bytes) -> ModelBundle:
    """A tiny compiled bundle whose digest depends on ``weights``."""

    def write(aside: Path) -> dict[str, Any]:
        info = BundleInfo(classes=("a", "b"), backbone="compact", width=16, embedding_dim=4, dataset_digests={})
        (aside / "weights.safetensors").write_bytes(weights)
        (aside / "model.json").write_text(info.model_dump_json())
        (aside / "preprocessing.json").write_text(Preprocessing(size_px=64).model_dump_json())
        return {"inputs": {"dataset": "d"}, "code": "c"}

    return ModelBundle(commit_artifact(folder, COMPILED, write))


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[[str], ModelBundle]:
    return lambda name: write_bundle(tmp_path / "cache" / name, name.encode() * 100)
