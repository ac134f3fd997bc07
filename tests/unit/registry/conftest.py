import uuid
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """The address of a bucket on a real HTTP server."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="records")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def any_root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty registry, in a folder and on S3."""
    if request.param == "folder":
        return str(tmp_path / "registry")
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_bucket"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return f"s3://records/{uuid.uuid4().hex}"
