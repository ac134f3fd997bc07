"""The Kubernetes API as the library needs it: objects of a kind, pods and their logs, in one namespace."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sightline.errors import EnvironmentFault, SightlineError, TemporaryError
from sightline.store.objects import ConflictError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, ApiException

_TIMEOUT_S = (5, 30)
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Kind:
    """A kind of object, as the API addresses it; ``group`` is empty for Kubernetes' core kinds."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """What ``apiVersion`` says in such an object."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name that RBAC rules and messages use: ``trainjobs.trainer.kubeflow.org``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class AbsentError(EnvironmentFault):
    """There is no cluster, or it does not know the kind: work of this kind cannot be started there."""


TRAIN_JOB = Kind("trainer.kubeflow.org", "v1alpha1", "trainjobs")
RAY_JOB = Kind("ray.io", "v1", "rayjobs")
INFERENCE_SERVICE = Kind("serving.kserve.io", "v1beta1", "inferenceservices")
_PODS = Kind("", "v1", "pods")


def connect(namespace: str) -> "Cluster":
    """The cluster that ``KUBECONFIG`` names, else the one this pod runs in, else that of ``~/.kube/config``.

    Raises:
        AbsentError: there is none of them, or the file cannot be used.
    """
    from kubernetes import client, config

    configuration, path = client.Configuration(), os.environ.get("KUBECONFIG")
    try:
        if not path and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=configuration)
        else:
            # The package reads KUBECONFIG once, when it is imported.
            config.load_kube_config(path or None, client_configuration=configuration, persist_config=False)
    except (config.ConfigException, OSError) as error:
        raise EnvironmentFault(
            f"no Kubernetes cluster: {error}", remedy="set KUBECONFIG, or run in a pod with a service account"
        ) from error
    return Cluster(client.ApiClient(configuration), namespace)


class Cluster:
    """One namespace of a cluster. Objects travel as dicts, as the API writes them.

    Every method raises TemporaryError where the same call may succeed later (the API server is busy, restarts or cannot be reached), and
    EnvironmentFault where it will not: no permission (the message names verb and resource), a kind that is not installed (AbsentError), an
    object that the cluster refuses.
    """

    def __init__(self, client: "ApiClient", namespace: str) -> None:
        self.namespace = namespace
        self._client = client

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none of this name."""
        try:
            return self._object("GET", kind, name)
        except _MissingError:
            return None

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object as created. Safe to repeat: a second call raises ConflictError.

        Raises:
            ConflictError: the name is taken.
        """
        return self._object("POST", kind, body=body)

    def replace(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object as replaced; ``body`` carries the ``metadata.resourceVersion`` that it was read with.

        Raises:
            ConflictError: somebody changed or deleted it in the meantime.
        """
        name = str(body["metadata"]["name"])
        try:
            return self._object("PUT", kind, name, body=body)
        except _MissingError:
            raise ConflictError(f"{kind.resource} '{name}' was deleted by somebody else") from None

    def patch(self, kind: Kind, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object after a JSON merge patch (RFC 7396): None removes a field, a list replaces the whole list.

        Raises:
            ConflictError: the patch names a ``metadata.resourceVersion`` that is not the current one.
            EnvironmentFault: there is no such object.
        """
        return self._object("PATCH", kind, name, body=body)

    def delete(self, kind: Kind, name: str) -> None:
        """Removes the object and, in the background, what it owns; one that is not there is fine."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        try:
            self._call("DELETE", kind, name, body=options)
        except _MissingError:
            return

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods whose labels match ``selector`` (``key=value,…``), by name."""
        pods: list[dict[str, Any]] = json.loads(self._call("GET", _PODS, query={"labelSelector": selector}))["items"]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

    def log(self, pod: str, *, container: str = "", tail: int = 200) -> str:
        """The last ``tail`` lines that a pod's container wrote; empty when there is no such pod or it has not started.

        Args:
            pod: its name.
            container: which one; may be empty for a pod that has only one.
            tail: number of lines.
        """
        query = {"tailLines": str(tail), **({"container": container} if container else {})}
        try:
            return self._call("GET", _PODS, f"{pod}/log", query=query).decode(errors="replace")
        except (_MissingError, _RefusedError):
            return ""

    def _object(self, method: str, kind: Kind, name: str = "", *, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._call(method, kind, name, body=body))
        return answer

    def _call(
        self,
        method: str,
        kind: Kind,
        name: str = "",
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        place = f"{kind.resource} '{name}'" if name else kind.resource
        try:
            answer = self._client.call_api(
                self._path(kind, name),
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=dict(body) if body is not None else None,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT_S,
            )
            return bytes(answer.data)
        except ApiException as error:
            verb = "list" if method == "GET" and not name else _VERBS[method]
            raise _explained(error, f"{verb} {place}", kind, self.namespace) from error
        except HTTPError as error:
            raise TemporaryError(f"cannot reach the Kubernetes API for {place}: {error}", remedy="try again; check the network") from error

    def _path(self, kind: Kind, name: str) -> str:
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        path = f"{root}/namespaces/{quote(self.namespace)}/{kind.plural}"
        return f"{path}/{quote(name)}" if name else path


class _MissingError(EnvironmentFault):
    """There is no object of this name."""


class _RefusedError(EnvironmentFault):
    """The request itself is not acceptable to the cluster."""


def _explained(error: "ApiException", action: str, kind: Kind, namespace: str) -> SightlineError:
    code, status = int(error.status or 0), _status(error)
    message = str(status.get("message") or error.reason or "")
    where = f"in namespace '{namespace}'"
    if code == 404:
        return _not_found(status, action, kind, where)
    if code == 409:
        return ConflictError(f"could not {action} {where}: {message}")
    if code == 401:
        return EnvironmentFault(f"the cluster does not know this account ({message})", remedy="renew the credentials in KUBECONFIG")
    if code == 403:
        verb = action.partition(" ")[0]
        return EnvironmentFault(
            f"the cluster does not let this account {action} {where}: {message}",
            remedy=f"allow the verb '{verb}' on '{kind.resource}' in a Role, or raise the quota that the message names",
        )
    if code == 429 or code >= 500 or code == 0:
        return TemporaryError(f"could not {action} {where}: the API server answered {code} {message}", remedy="try again")
    return _RefusedError(f"the cluster refused to {action} {where} ({code}): {message}", remedy="correct what the message names")


def _not_found(status: Mapping[str, Any], action: str, kind: Kind, where: str) -> SightlineError:
    """Tells an absent object from an absent kind: only the answer about an object says which one it is."""
    details = status.get("details") or {}
    if details.get("kind") == "namespaces":
        return EnvironmentFault(f"could not {action}: there is no namespace '{details.get('name')}'", remedy="correct cluster.namespace")
    if details.get("name"):
        return _MissingError(f"could not {action} {where}: there is none")
    return AbsentError(
        f"{kind.resource} ({kind.version}) is not installed on this cluster", remedy="install its operator, or choose another launcher"
    )


def _status(error: "ApiException") -> Mapping[str, Any]:
    try:
        status = json.loads(error.body or b"{}")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
