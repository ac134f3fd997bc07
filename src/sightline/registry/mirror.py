"""The promotion ledger, shown in MLflow's model registry: a projection that can be made again at any time."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sightline.errors import EnvironmentFault, TemporaryError
from sightline.registry.ledger import Champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_ATTEMPTS = 4
_Value = TypeVar("_Value")


def register(tracking_uri: str, model_name: str, champion: Champion) -> str:
    """The MLflow version of the champion, made when it is not there; ``champion`` and ``previous`` point to the right versions afterwards.

    Idempotent per generation, so it can be repeated after a crash. The ledger decides which model is in production, MLflow only shows it: a
    caller logs the error of this function and goes on.

    Args:
        tracking_uri: ``sqlite:///…`` or ``http(s)://…``.
        model_name: the registered model.
        champion: what the ledger returned.

    Raises:
        TemporaryError: MLflow does not answer, also after retries.
        EnvironmentFault: the tracking URI cannot be used.
    """
    client = connect(tracking_uri)
    _retried(lambda: _ensure_model(client, model_name))
    with _locked(tracking_uri):  # two processes that register one generation at once would make two versions
        found = _retried(lambda: _find_or_create(client, model_name, champion))
    versions = _retried(lambda: _versions(client, model_name))
    newest = max(versions, default=0)
    if champion.generation >= newest:  # a late mirror of an old generation must not move the alias back
        _retried(lambda: _point(client, model_name, champion, versions))
    return str(found.version)


def connect(tracking_uri: str) -> "MlflowClient":
    """A client of the tracking server. Several processes may make a new sqlite database at once: the first one builds its tables.

    Raises:
        EnvironmentFault: not a URI that MLflow can use.
        TemporaryError: the database or server does not answer.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    if not tracking_uri.startswith(("sqlite:///", "http://", "https://", "postgresql", "mysql")):
        raise EnvironmentFault(f"MLflow cannot use '{tracking_uri}'", remedy="set store.tracking to sqlite:///<file> or http(s)://<host>")

    def reach() -> MlflowClient:
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)  # makes a sqlite database's tables
        client.search_registered_models(max_results=1)
        return client

    with _locked(tracking_uri):
        return _retried(reach)


@contextlib.contextmanager
def _locked(tracking_uri: str) -> Iterator[None]:
    if not tracking_uri.startswith("sqlite:///"):
        yield
        return
    path = Path(tracking_uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _retried(call: Callable[[], _Value]) -> _Value:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(0.2 * 2**attempt)
        try:
            return call()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            failure = error
    raise TemporaryError(
        f"MLflow does not answer: {str(failure).splitlines()[0] if str(failure) else type(failure).__name__}",
        remedy="the promotion itself is done; check store.tracking and register again",
    ) from failure


def _ensure_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

    try:
        client.create_registered_model(name, description="Written by sightline from its promotion ledger.")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _versions(client: "MlflowClient", name: str) -> dict[int, "ModelVersion"]:
    found: dict[int, ModelVersion] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        for version in page:
            generation = version.tags.get("generation", "")
            if generation.isdigit():  # versions that people added by hand have none
                found[int(generation)] = version
        token = page.token
        if not token:
            return found


def _find_or_create(client: "MlflowClient", name: str, champion: Champion) -> "ModelVersion":
    found = _versions(client, name).get(champion.generation)
    if found is not None:
        return found
    tags = {
        "generation": str(champion.generation),
        "digest": champion.digest,
        "verdict": champion.verdict_digest,
        "run_id": champion.run_id,
    }
    return client.create_model_version(name, source=champion.folder, run_id=None, tags=tags)


def _point(client: "MlflowClient", name: str, champion: Champion, versions: dict[int, "ModelVersion"]) -> None:
    client.set_registered_model_alias(name, "champion", versions[champion.generation].version)
    previous = versions.get(champion.previous or 0)
    if previous is not None:
        client.set_registered_model_alias(name, "previous", previous.version)
    else:
        client.delete_registered_model_alias(name, "previous")
