import pytest

from sightline.models.bundle import BundleInfo, Preprocessing


@pytest.fixture
def info() -> BundleInfo:
    return BundleInfo(classes=("a", "b", "c"), backbone="compact", width=8, embedding_dim=128, dataset_digests={})


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing(size_px=32)
