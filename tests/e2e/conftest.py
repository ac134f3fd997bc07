"""Where the end-to-end tests run: a cluster that the environment names. Without one they skip and say what is missing.

SIGHTLINE_KFP_HOST        address of a Kubeflow Pipelines 2.17 API server
SIGHTLINE_ARGO_HOST       address of an Argo server (3.7 or newer)
SIGHTLINE_E2E_STORE       s3://bucket/prefix that the cluster and this machine reach; default s3://sightline/e2e
SIGHTLINE_E2E_NAMESPACE   namespace of the runs; default sightline
SIGHTLINE_E2E_ACCOUNT     service account of the pods; default: the server's
KUBECONFIG                for the tests that delete pods
"""

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.places import Argo, Kubeflow, places_below


@pytest.fixture(scope="session")
def kfp() -> Kubeflow:
    host = os.environ.get("SIGHTLINE_KFP_HOST", "")
    if not host:
        pytest.skip("no Kubeflow Pipelines server: set SIGHTLINE_KFP_HOST")
    from pipelines.client import connect

    namespace = os.environ.get("SIGHTLINE_E2E_NAMESPACE", "sightline")
    return Kubeflow(
        server=connect(host, namespace=namespace),
        store=places_below(_root()),
        namespace=namespace,
        service_account=os.environ.get("SIGHTLINE_E2E_ACCOUNT", ""),
        soon="*/30 * * * * *",
        patience_s=1800.0,
    )


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        pytest.skip("no cluster to delete pods of: set KUBECONFIG")
    return Path(path)


@pytest.fixture(scope="session")
def argo() -> Iterator[Argo]:
    """The Argo server; the credentials are the environment's, as for the command line."""
    host = os.environ.get("SIGHTLINE_ARGO_HOST", "")
    if not host:
        pytest.skip("no Argo server: set SIGHTLINE_ARGO_HOST")
    from pipelines.argo.server import connect

    with connect(host, os.environ.get("SIGHTLINE_E2E_NAMESPACE", "sightline")) as server:
        yield Argo(server=server, store=places_below(_root()), patience_s=1800.0)


def _root() -> str:
    """A prefix that no other run of the tests has."""
    return f"{os.environ.get('SIGHTLINE_E2E_STORE', 's3://sightline/e2e')}/{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
