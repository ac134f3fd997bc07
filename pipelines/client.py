"""The way into Kubeflow Pipelines: its own client, with errors that say what to do."""

import contextlib
import json
import os
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._parameters import for_cluster, parameters
from pipelines.submissions import Claim, once
from sightline.config.run import RunConfig
from sightline.errors import DataError, EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.store.objects import open_store

if TYPE_CHECKING:
    from kfp.client import Client

EXPERIMENT = "sightline"
SERVICE_ACCOUNT = "sightline-run"
_HEALTH = "/apis/v2beta1/healthz"
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Submission:
    """A run on the server.

    Attributes:
        run_id: Kubeflow's id.
        name: the readable name, which the run's records are kept under.
        pipeline: retrain or monitor.
        version: name of the pipeline version, which is the digest of its content.
        url: its page.
        existing: whether an earlier submit with the same key started it.
    """

    run_id: str
    name: str
    pipeline: str
    version: str
    url: str
    existing: bool


@dataclass(frozen=True)
class Server:
    """A Kubeflow Pipelines server that answers.

    Attributes:
        host: its address without a slash at the end.
        client: Kubeflow's client for it.
    """

    host: str
    client: "Client"

    def page(self, run_id: str) -> str:
        """The address of a run's page."""
        return f"{self.host}/#/runs/details/{run_id}"


@dataclass(frozen=True)
class Version:
    """A pipeline version on the server; its name is the digest of its content."""

    pipeline_id: str
    version_id: str
    name: str


def connect(host: str = "", *, namespace: str = "sightline") -> Server:
    """The server, after it was seen to answer.

    Args:
        host: address of the API server; empty: the environment's SIGHTLINE_KFP_HOST.
        namespace: of runs, where the server keeps users apart; otherwise the server's own.

    Raises:
        UsageError: no address, or nothing at it that is a Kubeflow Pipelines server.
        TemporaryError: nothing answers.
        EnvironmentFault: it asks for a login.
    """
    from kfp.client import Client

    address = (host or os.environ.get("SIGHTLINE_KFP_HOST", "")).rstrip("/")
    if not address:
        raise UsageError(
            "no Kubeflow Pipelines server is named",
            remedy="give --host http://… or set SIGHTLINE_KFP_HOST, for example after: kubectl port-forward svc/ml-pipeline 8888",
        )
    if not address.startswith(("http://", "https://")):
        raise UsageError(f"--host {address}: expected http://… or https://…")
    multi_user = _probe(address)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore", FutureWarning)  # it says which servers it works with, on each start
        client = Client(host=address, namespace=namespace if multi_user else "kubeflow", credentials=_credentials())
    return Server(address, client)


def _credentials() -> Any:
    """The token that Kubeflow mounts into pods, where there is one; KF_PIPELINES_SA_TOKEN_PATH names another file."""
    from kfp import client

    path = os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV, client.KF_PIPELINES_SA_TOKEN_PATH)
    return client.ServiceAccountTokenVolumeCredentials(path) if Path(path).is_file() else None


def _probe(address: str) -> bool:
    import httpx

    # The client itself tries for 25 seconds and logs a traceback each time.
    try:
        answer = httpx.get(address + _HEALTH, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise TemporaryError(
            f"no Kubeflow Pipelines server answers at {address}: {error}", remedy="check --host, SIGHTLINE_KFP_HOST"
        ) from None
    if answer.status_code in {302, 401, 403}:
        raise EnvironmentFault(f"{address} asks for a login", remedy="set KF_PIPELINES_SA_TOKEN_PATH to a file with a token for it")
    if answer.status_code >= 500:
        raise TemporaryError(f"{address} answers {answer.status_code}", remedy="try again")
    try:
        return bool(answer.raise_for_status().json().get("multi_user", False))
    except (httpx.HTTPError, ValueError, AttributeError):
        raise UsageError(f"{address} is not a Kubeflow Pipelines server: {_HEALTH} answers {answer.status_code}") from None


@contextlib.contextmanager
def calling(action: str) -> Iterator[None]:
    """Calls of Kubeflow's client: what it prints goes to standard error, and what goes wrong is explained.

    Raises:
        UsageError: there is no such thing, or the server refuses the request.
        EnvironmentFault: not allowed.
        TemporaryError: the server does not answer, or says to try again.
    """
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except HTTPError as error:
        raise TemporaryError(f"cannot {action}: {error}", remedy="try again") from None
    except ApiException as error:
        raise _explained(action, int(error.status or 0), _message(error.body)) from None


def _explained(action: str, status: int, message: str) -> SightlineError:
    text = f"cannot {action}: {message or status}"
    if status == 404:
        return UsageError(text, remedy="see `sightline runs list`")
    if status in {401, 403}:
        return EnvironmentFault(f"{text} (not allowed)", remedy="ask for the role that may create runs in this namespace")
    if status in {0, 429} or status >= 500:
        return TemporaryError(text, remedy="try again")
    return UsageError(text)


def _message(body: str | bytes | None) -> str:
    try:
        return str(json.loads(body or "{}").get("message", "")).splitlines()[0]
    except (ValueError, AttributeError, IndexError):
        return ""


def upload(server: Server, name: str) -> Version:
    """The pipeline of this checkout on the server, uploaded once per content."""
    from pipelines.compilation import compiled

    with tempfile.TemporaryDirectory(prefix="sl-") as folder, calling(f"upload pipeline {name}"):
        path = Path(folder) / f"{name}.yaml"
        text, digest = compiled(name)
        path.write_bytes(text)
        version = version_name(digest)
        pipeline_id = server.client.get_pipeline_id(name) or _new_pipeline(server.client, name)
        known = server.client.list_pipeline_versions(pipeline_id, filter=named(version)).pipeline_versions or []
        made = known[0] if known else server.client.upload_pipeline_version(str(path), version, pipeline_id=pipeline_id)
    return Version(pipeline_id, str(made.pipeline_version_id), version)


def version_name(digest: str) -> str:
    """A pipeline version is named by its content."""
    return f"c-{digest[:16]}"


def _new_pipeline(client: "Client", name: str) -> str:
    from kfp_server_api import V2beta1Pipeline

    # upload_pipeline would add a version named like the pipeline; here every version is named by its content.
    made = client.pipelines.pipeline_service_create_pipeline(pipeline=V2beta1Pipeline(display_name=name, name=name))
    return str(made.pipeline_id)


def named(name: str) -> str:
    """Kubeflow's filter for things with exactly this display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


@dataclass(frozen=True)
class _Order:
    """What one run is made of."""

    server: Server
    experiment: str
    run_name: str
    values: Mapping[str, Any]
    version: Version
    service_account: str

    def find(self) -> str:
        """The id of a run of this name; empty when there is none."""
        with calling("list runs"):
            found = self.server.client.list_runs(experiment_id=self.experiment, filter=named(self.run_name)).runs or []
        return str(found[0].run_id) if found else ""

    def create(self) -> str:
        """Makes the run; its id."""
        with calling(f"create run {self.run_name}"):
            made = self.server.client.run_pipeline(
                self.experiment,
                self.run_name,
                params={**self.values, "run_id": self.run_name},
                pipeline_id=self.version.pipeline_id,
                version_id=self.version.version_id,
                service_account=self.service_account or None,
            )
        return str(made.run_id)


def submit(
    name: str,
    config: RunConfig,
    key: str = "",
    *,
    server: Server,
    changes: Mapping[str, Any] | None = None,
    service_account: str = SERVICE_ACCOUNT,
) -> Submission:
    """The run of a pipeline on the cluster; with a key, the same run however often it is asked for.

    Args:
        name: retrain or monitor.
        config: its values are the run's parameters.
        key: idempotency key; it is claimed in the registry before the run is created. Empty: each call starts a run.
        server: see `connect`.
        changes: further parameters of the pipeline, such as `on_drift`.
        service_account: account of the run's pods; empty: the server's.

    Raises:
        UsageError: the key was used for another configuration, or a place in it is a folder of this machine only.
    """
    reachable = for_cluster(config)
    values = {**parameters(name, reachable), **(changes or {})}
    run_name = f"{name}-{key or time.strftime('%Y%m%d-%H%M%S') + '-' + uuid.uuid4().hex[:6]}"
    claim = Claim.of(key, pipeline=name, run_name=run_name, values=values) if key else None
    version = upload(server, name)
    order = _Order(server, experiment(server), run_name, values, version, service_account)
    if claim:
        run_id, existing = once(open_store(reachable.store.registry), claim, find=order.find, create=order.create)
    else:
        run_id, existing = order.create(), False
    return Submission(run_id, run_name, name, version.name, server.page(run_id), existing)


def experiment(server: Server) -> str:
    """The id of the experiment that all runs belong to; made when needed."""
    with calling("open the experiment"):
        return str(server.client.create_experiment(EXPERIMENT).experiment_id)


def retrain_for(*, drift: str, retrain: Mapping[str, Any], store: Mapping[str, Any], run_id: str) -> str:
    """Starts the retraining that a drift decision asks for: "submitted", or "already-submitted" by an earlier attempt.

    Args:
        drift: folder of the decision.
        retrain: sections of the retrain run's configuration.
        store: the store section; the decision's key is claimed in its registry.
        run_id: the monitor run.

    Raises:
        DataError: the decision is another one.
    """
    from sightline.monitor.result import Drift
    from sightline.store.artifact import open_artifact
    from sightline.store.steps import run_name

    decision = Drift.model_validate_json(open_artifact(Path(drift), "drift").file("drift.json").read_bytes())
    if decision.decision != "retrain":
        raise DataError(f"the decision is to {decision.decision}, not to retrain: {decision.reason}")
    config = RunConfig.model_validate({**retrain, "store": dict(store)})
    key = f"{decision.model[:12]}-{run_name(run_id)}"
    made = submit("retrain", config, key, server=connect(namespace=config.cluster.namespace))
    return "already-submitted" if made.existing else "submitted"
