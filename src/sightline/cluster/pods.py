"""The pods of distributed jobs: where they may run and what they may do, the same for every kind of job."""

from typing import Any

from sightline.config.cluster import ClusterConfig

SCRATCH = "/scratch"
_CREDENTIALS = "/var/run/secrets/sightline/s3"
_USER = 65532
_SPOT = "sightline.dev/spot"
_CAPACITY = "sightline.dev/capacity"
_PLAIN = {
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
    "AWS_SHARED_CREDENTIALS_FILE": f"{_CREDENTIALS}/credentials",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTHONUNBUFFERED": "1",
}
_FROM_CLUSTER = ("AWS_ENDPOINT_URL", "AWS_REGION")


def pod_spec(cluster: ClusterConfig, *, account: str, gpus: int) -> dict[str, Any]:
    """What a pod's ``spec`` says besides its containers: account, pool (spot preferred where it is allowed), user, volumes."""
    pool = {"sightline.dev/pool": "gpu" if gpus else "cpu"}
    tolerations = [{"key": cluster.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}] if gpus else []
    spec: dict[str, Any] = {
        "serviceAccountName": account,
        "nodeSelector": pool,
        "tolerations": tolerations,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": "100Gi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{max(1, cluster.memory_gib_per_node // 4)}Gi"}},
            {"name": "s3", "secret": {"secretName": "sightline-s3", "optional": True}},
        ],
    }
    if not cluster.spot:
        return spec | {"nodeSelector": pool | {_CAPACITY: "on-demand"}}
    preference = {"matchExpressions": [{"key": _CAPACITY, "operator": "In", "values": ["spot"]}]}
    return spec | {
        "tolerations": [*tolerations, {"key": _SPOT, "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": preference}]}},
    }


def container_limits() -> dict[str, Any]:
    """A container's mounts and security context: only /scratch, /tmp and /dev/shm can be written, nothing can be gained."""
    return {
        "volumeMounts": [
            {"name": "scratch", "mountPath": SCRATCH},
            {"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"},  # noqa: S108 - of the container
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - of the container
            {"name": "s3", "mountPath": _CREDENTIALS, "readOnly": True},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def environment(**further: str) -> list[dict[str, Any]]:
    """The environment of a job's containers, by name; the store's address comes from the cluster's own ConfigMap."""
    plain = [{"name": name, "value": value} for name, value in sorted({**_PLAIN, **further}.items())]
    source = {"name": "sightline-environment", "optional": True}
    return plain + [{"name": name, "valueFrom": {"configMapKeyRef": {**source, "key": name}}} for name in _FROM_CLUSTER]


def node_resources(cluster: ClusterConfig, *, gpus: int) -> dict[str, Any]:
    """Requests and limits of one node of a job; memory is both at once, so that no neighbour's use ends it."""
    memory = f"{cluster.memory_gib_per_node}Gi"
    devices = {cluster.gpu_resource: str(gpus)} if gpus else {}
    return {"requests": {"cpu": str(cluster.cpus_per_node), "memory": memory, **devices}, "limits": {"memory": memory, **devices}}


def queue_labels(cluster: ClusterConfig) -> dict[str, str]:
    """Labels of a job that waits in Kueue's queue with its priority; none without a queue."""
    labels = {"app.kubernetes.io/part-of": "sightline", "app.kubernetes.io/managed-by": "sightline"}
    if cluster.queue:
        labels["kueue.x-k8s.io/queue-name"] = cluster.queue
        labels |= {"kueue.x-k8s.io/priority-class": cluster.priority_class} if cluster.priority_class else {}
    return labels
