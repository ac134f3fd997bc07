"""Kubernetes objects of a rendered overlay, and the pods that they make."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ("dev", "prod", "prod-argo")
Body = Mapping[str, Any]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Rendered:
    """The objects of one overlay; each look at them gives fresh copies, so a test may change what it got."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._objects = [body for body in yaml.load_all(text, _LOADER) if body]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (copy.deepcopy(body) for body in self._objects)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [body for body in self if body["kind"] == kind]

    def one(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        found = [b for b in self.of_kind(kind) if b["metadata"]["name"] == name and namespace in ("", b["metadata"].get("namespace", ""))]
        assert len(found) == 1, f"{len(found)} objects {kind} {namespace}/{name}"
        return found[0]


@dataclass(frozen=True)
class PodTemplate:
    """A pod that an object makes.

    Attributes:
        owner: kind and name.
        namespace: where its pods are.
        spec: the pod's spec.
        labels: of the pod.
        is_fragment: the rest of the spec (account, security of the pod) is said elsewhere, by the InferenceService.
        is_server: runs until it is stopped, so it has probes.
    """

    owner: str
    namespace: str
    spec: Body
    labels: Body
    is_fragment: bool = False
    is_server: bool = True

    @property
    def containers(self) -> list[Body]:
        return [*self.spec.get("containers", []), *self.spec.get("initContainers", [])]


def pod_templates(body: Body) -> list[PodTemplate]:
    """The pods that an object makes; none for an object that makes none."""
    kind, metadata = body["kind"], body["metadata"]
    owner, namespace = f"{kind}/{metadata['name']}", metadata.get("namespace", "")
    if kind in ("Deployment", "StatefulSet", "DaemonSet"):
        template = body["spec"]["template"]
        return [PodTemplate(owner, namespace, template["spec"], template["metadata"].get("labels", {}))]
    if kind == "ServingRuntime":
        return [PodTemplate(owner, namespace, body["spec"], body["spec"].get("labels", {}), is_fragment=True)]
    if kind == "WorkflowTemplate":
        return [_step(owner, namespace, body["spec"], step) for step in body["spec"]["templates"] if "container" in step]
    if kind == "EventBus":
        return [_bus(owner, namespace, body["spec"]["jetstream"])]
    if kind in ("EventSource", "Sensor"):
        return [_events(owner, namespace, body["spec"]["template"])]
    return []


def _step(owner: str, namespace: str, spec: Body, step: Body) -> PodTemplate:
    pod = {
        "containers": [{"name": "main", **step["container"]}],
        "volumes": step.get("volumes", []),
        "securityContext": step.get("securityContext", spec.get("securityContext", {})),
        "serviceAccountName": step.get("serviceAccountName", spec.get("serviceAccountName")),
        "automountServiceAccountToken": step.get("automountServiceAccountToken", spec.get("automountServiceAccountToken")),
        "priorityClassName": step.get("priorityClassName", spec.get("podPriorityClassName")),
    }
    return PodTemplate(f"{owner}/{step['name']}", namespace, pod, {"workflows.argoproj.io/workflow": "w"}, is_server=False)


def _bus(owner: str, namespace: str, spec: Body) -> PodTemplate:
    names = ("containerTemplate", "reloaderContainerTemplate", "metricsContainerTemplate")
    pod = {**spec, "containers": [{"name": name, "image": "", **spec[name]} for name in names]}
    return PodTemplate(owner, namespace, pod, {"controller": "eventbus-controller"}, is_server=False)


def _events(owner: str, namespace: str, template: Body) -> PodTemplate:
    pod = {**template, "containers": [{"name": "main", "image": "", **template["container"]}]}
    return PodTemplate(owner, namespace, pod, template.get("metadata", {}).get("labels", {}), is_server=False)
