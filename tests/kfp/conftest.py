"""The double in place of a cluster, and configurations that it can reach."""

import pytest

from pipelines.client import connect
from tests.e2e.places import Kubeflow, places_below
from tests.kfp.fake_server import FakeKubeflow


@pytest.fixture
def double(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    with FakeKubeflow(folder) as running:
        yield running


@pytest.fixture
def server(double):
    return connect(double.host)


@pytest.fixture(scope="session")
def shared_double(tmp_path_factory):
    with FakeKubeflow(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def kfp(shared_double, tmp_path_factory) -> Kubeflow:
    store = places_below(str(tmp_path_factory.mktemp("store")))
    return Kubeflow(
        server=connect(shared_double.host),
        store=store,
        namespace="sightline",
        service_account="",
        soon="* * * * * *",
        patience_s=240.0,
        every_s=0.2,
    )
