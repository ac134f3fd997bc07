import pytest

from sightline.config.store import StoreConfig


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    return StoreConfig(
        cache=str(root / "cache"), registry=str(root / "registry"), runs=str(root / "runs"), tracking=f"sqlite:///{root}/ml.db"
    )
