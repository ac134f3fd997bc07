"""The search as a KubeRay RayJob."""

import math
import shlex
from collections.abc import Mapping
from typing import Any

from sightline.cluster.api import RAY_JOB
from sightline.cluster.pods import SCRATCH, container_limits, environment, node_resources, pod_spec, queue_labels
from sightline.config.cluster import ClusterConfig
from sightline.config.tune import TuneConfig
from sightline.learn.remote import STAGED, RemoteJob, State
from sightline.learn.staging import StagedJob
from sightline.tune import __main__ as entry

ACCOUNT = "sightline-tune"
_JOB = "sightline.dev/job"
_HEAD = "ray-head"
# Long enough to look at the pods of a search that failed; the step deletes the object before, and with it the pods, when it lives.
_KEPT_S = 600
# The head runs no trials, only Ray's own services and the driver.
_HEAD_RESOURCES = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}


def ray_job(config: TuneConfig, cluster: ClusterConfig, staged: StagedJob, key: str) -> RemoteJob:
    """The RayJob of a staged search; its name follows from ``key``, so that the same search is the same object."""
    name = f"tune-{key[:16]}"
    return RemoteJob(
        name="the search",
        kind=RAY_JOB,
        body=_body(config, cluster, staged, name),
        staged=staged,
        state=read_state,
        selector=f"{_JOB}={name}",
        container=_HEAD,
        timeout_s=config.timeout_s,
        timeout_key="tune.timeout_s",
        num_restarts=config.num_restarts,
    )


def _body(config: TuneConfig, cluster: ClusterConfig, staged: StagedJob, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": cluster.namespace, "labels": queue_labels(cluster), "annotations": {STAGED: staged.sha256}}
    spec = {
        "entrypoint": shlex.join(["python", "-m", entry.__name__.removesuffix(".__main__"), *staged.arguments]),
        # No pod of its own for `ray job submit`: the operator asks the head, which the network policy has to let it do.
        "submissionMode": "HTTPMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": _KEPT_S,
        # A second line: the step that waits ends it first, and says so.
        "activeDeadlineSeconds": config.timeout_s + 600,
        "backoffLimit": 0,
        "suspend": bool(cluster.queue),
        "rayClusterSpec": _ray_cluster(config, cluster, name),
    }
    return {"apiVersion": RAY_JOB.api_version, "kind": "RayJob", "metadata": metadata, "spec": spec}


def _ray_cluster(config: TuneConfig, cluster: ClusterConfig, name: str) -> dict[str, Any]:
    num = math.ceil(config.num_concurrent / cluster.cpus_per_node)
    start = {"num-cpus": "0", "dashboard-host": "0.0.0.0", "temp-dir": f"{SCRATCH}/ray"}  # noqa: S104 - behind token and network policy
    workers = {
        "groupName": "trials",
        "replicas": num,
        "minReplicas": num,
        "maxReplicas": num,
        "rayStartParams": {"num-cpus": str(cluster.cpus_per_node)},
        "template": _template(cluster, name, "ray-worker", node_resources(cluster, gpus=0)),
    }
    return {
        "rayVersion": cluster.ray_version,
        # Ray's ports run whatever they are sent: without the token that the operator makes for this cluster they refuse it.
        "authOptions": {"mode": "token"},
        "headGroupSpec": {"rayStartParams": start, "template": _template(cluster, name, _HEAD, _HEAD_RESOURCES)},
        "workerGroupSpecs": [workers],
    }


def _template(cluster: ClusterConfig, name: str, container: str, resources: Mapping[str, Any]) -> dict[str, Any]:
    env = environment(OMP_NUM_THREADS="1", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1")
    running = {"name": container, "image": cluster.train_image, "resources": dict(resources), "env": env, **container_limits()}
    metadata = {
        "labels": {_JOB: name, "app.kubernetes.io/part-of": "sightline"},
        "annotations": {"karpenter.sh/do-not-disrupt": "true"},
    }
    pod = {**pod_spec(cluster, account=ACCOUNT, gpus=0), "automountServiceAccountToken": False, "containers": [running]}
    return {"metadata": metadata, "spec": pod}


def read_state(found: Mapping[str, Any]) -> State:
    """What a RayJob's status says."""
    status = found.get("status") or {}
    deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    why = f"{status.get('reason', '')} {status.get('message', '')}".strip()
    if job == "SUCCEEDED":
        return State("done")
    if deployment in {"Failed", "ValidationFailed"} or job in {"FAILED", "STOPPED"}:
        return State("failed", why)
    if deployment in {"Suspended", "Suspending"} or (not deployment and found["spec"].get("suspend")):
        return State("waiting")
    return State("running" if job == "RUNNING" else "starting")
