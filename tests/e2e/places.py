"""What the end-to-end tests are given, and the configuration of a run that takes seconds."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.argo.server import Server as ArgoServer
from pipelines.client import Server
from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from tests.pipelines.small import small_config

TINY = "generated://surfaces;lots=20;images=12;seed=3"


@dataclass(frozen=True)
class Kubeflow:
    """A server with room for a test's runs.

    Attributes:
        server: it answers.
        store: places that the cluster and the tests both reach, empty at first.
        namespace: of the runs.
        service_account: of the pods; empty: the server's.
        soon: a cron expression that fires soon.
        patience_s: seconds that one run may take.
        every_s: seconds between two looks at a run.
    """

    server: Server
    store: StoreConfig
    namespace: str
    service_account: str
    soon: str
    patience_s: float
    every_s: float = 5.0


@dataclass(frozen=True)
class Argo:
    """An Argo server with room for a test's runs.

    Attributes:
        server: it answers.
        store: places that the cluster and the tests both reach, empty at first.
        patience_s: seconds that one run may take.
        every_s: seconds between two looks at a run.
    """

    server: ArgoServer
    store: StoreConfig
    patience_s: float
    every_s: float = 5.0


def places_below(root: str) -> StoreConfig:
    """All places in one folder or prefix; tracking that nobody answers is a warning, never an error."""
    tracking = f"sqlite:///{root}/mlflow.db" if root.startswith("/") else "http://mlflow.sightline-tracking:5000"
    return StoreConfig(cache=f"{root}/cache", registry=f"{root}/registry", runs=f"{root}/runs", jobs=f"{root}/jobs", tracking=tracking)


def tiny_config(store: StoreConfig, **gate: object) -> RunConfig:
    """A first model on 240 generated images."""
    config = small_config(Path("unused"), **gate)
    ingest = config.ingest.model_copy(update={"source": TINY})
    return config.model_copy(update={"ingest": ingest, "store": store})
