import pytest

from sightline.config.store import StoreConfig


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    places = {name: str(root / name) for name in ("cache", "registry", "runs", "jobs")}
    return StoreConfig(**places, tracking=f"sqlite:///{root}/ml.db")
