"""Training as a Kubeflow Trainer TrainJob."""

from collections.abc import Mapping
from typing import Any

from sightline.cluster.api import TRAIN_JOB
from sightline.cluster.pods import container_limits, environment, node_resources, pod_spec, queue_labels
from sightline.config.cluster import ClusterConfig
from sightline.config.train import TrainConfig
from sightline.learn.remote import STAGED, RemoteJob, State
from sightline.learn.staging import StagedJob
from sightline.train import __main__ as entry

ACCOUNT = "sightline-train"
_CONTAINER = "node"
_MANAGER = "sightline.dev/train"


def train_job(config: TrainConfig, cluster: ClusterConfig, staged: StagedJob, key: str) -> RemoteJob:
    """The TrainJob of a staged training; its name follows from ``key``, so that the same training is the same object."""
    name = f"train-{key[:16]}"
    return RemoteJob(
        name="training",
        kind=TRAIN_JOB,
        body=_body(config, cluster, staged, name),
        staged=staged,
        state=read_state,
        selector=f"jobset.sigs.k8s.io/jobset-name={name}",
        container=_CONTAINER,
        timeout_s=config.timeout_s,
        timeout_key="train.timeout_s",
        num_restarts=config.num_restarts,
    )


def _body(config: TrainConfig, cluster: ClusterConfig, staged: StagedJob, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": cluster.namespace, "labels": queue_labels(cluster), "annotations": {STAGED: staged.sha256}}
    spec = {
        "runtimeRef": {"apiGroup": TRAIN_JOB.group, "kind": "ClusterTrainingRuntime", "name": cluster.training_runtime},
        # Kueue lets it go when there is room for all of its nodes at once.
        "suspend": bool(cluster.queue),
        # A second line: the step that waits ends it first, and says so.
        "activeDeadlineSeconds": config.timeout_s + 600,
        "trainer": _trainer(config, cluster, staged),
        "runtimePatches": [{"manager": _MANAGER, "trainingRuntimeSpec": _patch(cluster)}],
    }
    return {"apiVersion": TRAIN_JOB.api_version, "kind": "TrainJob", "metadata": metadata, "spec": spec}


def _trainer(config: TrainConfig, cluster: ClusterConfig, staged: StagedJob) -> dict[str, Any]:
    threads = max(1, cluster.cpus_per_node // config.num_processes)
    return {
        "image": cluster.train_image,
        # The runtime tells torchrun of nodes, rank and meeting point through PET_* variables.
        "command": ["torchrun", "-m", entry.__name__.removesuffix(".__main__"), *staged.arguments],
        "numNodes": config.num_nodes,
        "numProcPerNode": config.num_processes,
        "resourcesPerNode": node_resources(cluster, gpus=cluster.gpus_per_node),
        "env": environment(OMP_NUM_THREADS=str(threads)),
    }


def _patch(cluster: ClusterConfig) -> dict[str, Any]:
    """What the runtime's pods get; since Trainer 2.2 patches may set no environment and no priority class, see ``queue_labels``."""
    pod = {
        **pod_spec(cluster, account=ACCOUNT, gpus=cluster.gpus_per_node),
        "containers": [{"name": _CONTAINER, **container_limits()}],
    }
    metadata = {"labels": {"app.kubernetes.io/part-of": "sightline"}, "annotations": {"karpenter.sh/do-not-disrupt": "true"}}
    job = {"name": "node", "template": {"spec": {"template": {"metadata": metadata, "spec": pod}}}}
    return {"template": {"spec": {"replicatedJobs": [job]}}}


def read_state(found: Mapping[str, Any]) -> State:
    """What a TrainJob's conditions say."""
    status = found.get("status") or {}
    true = {entry["type"]: entry for entry in status.get("conditions") or () if entry.get("status") == "True"}
    if "Complete" in true:
        return State("done")
    if "Failed" in true:
        return State("failed", f"{true['Failed'].get('reason', '')} {true['Failed'].get('message', '')}".strip())
    if "Suspended" in true or found["spec"].get("suspend"):
        return State("waiting")
    active = sum(int(job.get("active") or 0) for job in status.get("jobsStatus") or ())
    return State("running" if active else "starting")
