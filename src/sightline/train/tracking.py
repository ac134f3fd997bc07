"""A finished training in MLflow; training never depends on it."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.train.job import Epoch

EXPERIMENT = "sightline"
_SQLITE = "sqlite:///"
_LOG = logging.getLogger(__name__)
# MLflow retries a dead server for minutes otherwise; it reports usage to its makers unless told not to.
_ENVIRONMENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class TrackedRun:
    """What is logged: name and tags of the run, parameters, one set of metrics per epoch."""

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    epochs: Sequence[Epoch]


class Tracker:
    """Connects to MLflow in the background while the training runs (import 1.5 s, fresh sqlite file 1.5 s), then logs it in one call."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracking")
        self._connected: Future[tuple[Any, str]] = self._pool.submit(_connect, tracking_uri)

    def log(self, run: TrackedRun) -> bool:
        """Logs the run; an ``MLFLOW_RUN_ID`` in the environment is continued instead of starting a rival run.

        Returns:
            False when MLflow could not be reached or refused; that is a warning in the log, and ``history.json`` holds the same numbers.
        """
        try:
            self._pool.submit(_log, *self._connected.result(), run).result()
        except Exception as error:  # noqa: BLE001 - whatever tracking does, the trained model is kept
            _LOG.warning("MLflow at %s did not take the run (%s); history.json has its numbers", self._uri, error)
            return False
        return True

    def close(self) -> None:
        """Ends the background thread without waiting for a slow server."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _connect(tracking_uri: str) -> tuple[Any, str]:
    with _environment():
        if tracking_uri.startswith(_SQLITE):
            Path(tracking_uri.removeprefix(_SQLITE)).absolute().parent.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=tracking_uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        return client, experiment.experiment_id if experiment else client.create_experiment(
            EXPERIMENT, artifact_location=_artifacts(tracking_uri)
        )


def _artifacts(tracking_uri: str) -> str | None:
    """Beside the sqlite file, where MLflow would take ``mlruns`` in the working directory; a server decides for itself."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE)).absolute().with_suffix(".artifacts").as_uri()


def _log(client: Any, experiment_id: str, run: TrackedRun) -> None:
    with _environment():
        from mlflow.entities import Param, RunTag

        adopted = os.environ.get("MLFLOW_RUN_ID", "")
        run_id = adopted or client.create_run(experiment_id, run_name=run.name).info.run_id
        params = [Param(key, str(value)) for key, value in run.params.items()]
        client.log_batch(run_id, metrics=_metrics(run.epochs), params=params, tags=[RunTag(key, value) for key, value in run.tags.items()])
        if not adopted:
            client.set_terminated(run_id, "FINISHED")


def _metrics(epochs: Sequence[Epoch]) -> list[Any]:
    import time

    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    return [
        Metric(key.replace("_", "/", 1), value, now_ms, epoch.epoch)
        for epoch in epochs
        for key, value in epoch.model_dump(exclude={"epoch"}).items()
    ]


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    added = {key: value for key, value in _ENVIRONMENT.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)
