"""An InferenceService of KServe 0.21 (Standard mode) as a dict: what it serves, and the changes that a deployment makes to it.

Pods are made from ``spec.predictor``, its annotations and those of the service: what is changed there restarts pods. Therefore a
deployment only ever changes ``predictor.name``, the model and ``spec.canary``, and a promoted canary's predictor is taken over as it is.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.cluster.api import INFERENCE_SERVICE

Body = dict[str, Any]
MODE = "serving.kserve.io/deploymentMode"
STANDARD = "Standard"
_SHORT = 12
_CONTAINER = "kserve-container"
# What a canary must not have: its number of pods is fixed.
_SCALING = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec")


@dataclass(frozen=True)
class Served:
    """One model as a predictor serves it.

    Attributes:
        digest: of the bundle.
        uri: ``s3://…/models/<digest>``.
        runtime: name of the ServingRuntime.
        arguments: more arguments of the server.
    """

    digest: str
    uri: str
    runtime: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The predictor's name, which becomes part of the names of Deployment, Service and pods."""
        return f"m-{self.digest[:_SHORT]}"

    def predictor(self, template: Mapping[str, Any]) -> Body:
        """A predictor that serves this model and is like ``template`` in everything else."""
        model = copy.deepcopy(dict(template.get("model") or {}))
        model |= {
            "name": _CONTAINER,  # of the runtime's container; KServe 0.21's schema asks for it in a canary, though not in the predictor
            "modelFormat": {"name": "sightline"},
            "runtime": self.runtime,
            "protocolVersion": "v2",
            "storageUri": self.uri,
            "args": ["--digest", self.digest, *self.arguments],
        }
        return {**copy.deepcopy(dict(template)), "name": self.name, "model": model}


def new_service(name: str, served: Served, *, replicas: int) -> Body:
    """A service that serves one model."""
    template = {
        "minReplicas": replicas,
        "serviceAccountName": "sightline-serve",
        "automountServiceAccountToken": False,
        "priorityClassName": "sightline-serving",
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"serving.kserve.io/inferenceservice": name}},
            }
        ],
    }
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": "InferenceService",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "sightline"}, "annotations": {MODE: STANDARD}},
        "spec": {"predictor": served.predictor(template)},
    }


def stable_name(service: Mapping[str, Any]) -> str:
    """The name of the predictor that is no canary; empty when it has none."""
    return str(service["spec"]["predictor"].get("name", ""))


def canary_names(service: Mapping[str, Any]) -> list[str]:
    """The names of all canaries."""
    return [str(entry["predictor"].get("name", "")) for entry in _canaries(service)]


def with_canary(service: Mapping[str, Any], served: Served, *, percent: int, share: float) -> Body:
    """The service with this canary and no other.

    Args:
        service: as read.
        served: the canary's model.
        percent: of the traffic; 0 starts it in the dark.
        share: what the canary will get in the end; it has this share of the predictor's pods, one at least.
    """
    changed = copy.deepcopy(dict(service))
    predictor = served.predictor({key: value for key, value in changed["spec"]["predictor"].items() if key not in _SCALING})
    predictor["minReplicas"] = max(1, math.ceil(share * int(changed["spec"]["predictor"].get("minReplicas") or 1)))
    changed["spec"]["canary"] = [{"predictor": predictor, "trafficPercent": percent}]
    return changed


def without_canary(service: Mapping[str, Any]) -> Body:
    """The service with its predictor alone."""
    changed = copy.deepcopy(dict(service))
    changed["spec"].pop("canary", None)
    return changed


def in_the_dark(service: Mapping[str, Any], name: str) -> Body:
    """The service without any canary but the one of that name, which goes on without clients."""
    changed = without_canary(service)
    kept = [{**copy.deepcopy(dict(entry)), "trafficPercent": 0} for entry in _canaries(service) if entry["predictor"].get("name") == name]
    if kept:
        changed["spec"]["canary"] = kept
    return changed


def promoted(service: Mapping[str, Any], name: str) -> Body:
    """The service with the canary of that name as its predictor, whose pods go on; scaling stays as it was."""
    changed = without_canary(service)
    stable = changed["spec"]["predictor"]
    canary = next(copy.deepcopy(entry["predictor"]) for entry in _canaries(service) if entry["predictor"].get("name") == name)
    kept = {key: stable[key] for key in ("minReplicas", *_SCALING) if key in stable}
    canary.pop("minReplicas", None)
    changed["spec"]["predictor"] = {**canary, **kept}
    return changed


def traffic_percent(service: Mapping[str, Any], name: str) -> int | None:
    """What the canary of that name is meant to get; None when there is no such canary."""
    return next((int(entry.get("trafficPercent", 0)) for entry in _canaries(service) if entry["predictor"].get("name") == name), None)


def is_ready(service: Mapping[str, Any], name: str) -> bool:
    """Whether KServe says that the predictor or canary of that name serves."""
    status = service.get("status") or {}
    if name == stable_name(service):
        observed = status.get("observedGeneration")
        fresh = observed is None or observed >= service["metadata"].get("generation", 0)
        return fresh and any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in status.get("conditions") or [])
    return any(entry.get("name") == name and entry.get("ready") for entry in status.get("canaryStatuses") or [])


def pod_selector(service: str, name: str) -> str:
    """The label selector of the pods of one predictor."""
    return f"app=isvc.{service}-{name}-predictor"


def _canaries(service: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return service["spec"].get("canary") or []
