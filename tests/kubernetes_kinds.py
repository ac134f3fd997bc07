"""What an API server says about the kinds that it has, which kubectl asks before anything else."""

from collections.abc import Iterable, Mapping
from typing import Any

from sightline.cluster.api import INFERENCE_SERVICE, RAY_JOB, TRAIN_JOB, Kind

PODS = Kind("", "v1", "pods")
NODES = Kind("", "v1", "nodes")
DAEMON_SETS = Kind("apps", "v1", "daemonsets")
DEPLOYMENTS = Kind("apps", "v1", "deployments")
WORKLOADS = Kind("kueue.x-k8s.io", "v1beta2", "workloads")
LOCAL_QUEUES = Kind("kueue.x-k8s.io", "v1beta2", "localqueues")
CLUSTER_QUEUES = Kind("kueue.x-k8s.io", "v1beta2", "clusterqueues")
HTTP_ROUTES = Kind("gateway.networking.k8s.io", "v1", "httproutes")
OPERATED = (PODS, NODES, DAEMON_SETS, DEPLOYMENTS, WORKLOADS, LOCAL_QUEUES, CLUSTER_QUEUES, HTTP_ROUTES, INFERENCE_SERVICE)

_NAMES = {
    PODS: "Pod",
    NODES: "Node",
    DAEMON_SETS: "DaemonSet",
    DEPLOYMENTS: "Deployment",
    WORKLOADS: "Workload",
    LOCAL_QUEUES: "LocalQueue",
    CLUSTER_QUEUES: "ClusterQueue",
    HTTP_ROUTES: "HTTPRoute",
    INFERENCE_SERVICE: "InferenceService",
    TRAIN_JOB: "TrainJob",
    RAY_JOB: "RayJob",
}
_CLUSTER_SCOPED = {NODES, CLUSTER_QUEUES}
_VERBS = ["create", "delete", "get", "list", "patch", "update"]


def kind_of(body: Mapping[str, Any]) -> Kind | None:
    """The kind of an object, where it is one of ``OPERATED``."""
    named = (body["apiVersion"], body["kind"])
    return next((kind for kind in OPERATED if (kind.api_version, _NAMES[kind]) == named), None)


def described(path: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """The answer to a question about kinds; None where the path asks for something else."""
    parts = path.strip("/").split("/")
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if parts == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups(kinds)}
    own = [kind for kind in kinds if parts == (["apis", kind.group, kind.version] if kind.group else ["api", kind.version])]
    if not own:
        return None
    resources = [_resource(kind) for kind in sorted(own, key=lambda kind: kind.plural)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": own[0].api_version, "resources": resources}


def _groups(kinds: Iterable[Kind]) -> list[dict[str, Any]]:
    found: dict[str, set[str]] = {}
    for kind in kinds:
        if kind.group:
            found.setdefault(kind.group, set()).add(kind.version)
    versions = {group: [{"groupVersion": f"{group}/{one}", "version": one} for one in sorted(names)] for group, names in found.items()}
    return [{"name": group, "versions": ours, "preferredVersion": ours[0]} for group, ours in sorted(versions.items())]


def _resource(kind: Kind) -> dict[str, Any]:
    name = _NAMES.get(kind, kind.plural.removesuffix("s").title())
    scope = {"namespaced": kind not in _CLUSTER_SCOPED}
    return {"name": kind.plural, "singularName": name.lower(), "kind": name, "verbs": _VERBS, **scope}
