"""Where and how tasks run on a cluster: the only place with GPUs, pools, retries, timeouts and priority; a local run ignores it.

Kubeflow Pipelines 2.17 offers no priority class on a task or a run, and retries a step whatever its exit code. The priority is therefore a
pod label that an admission policy of the cluster can turn into a class, and a step that cannot succeed on another attempt says so at once
and returns when it is tried again (see `sightline.store`).
"""

from dataclasses import dataclass
from typing import Any, Literal

from kfp import kubernetes
from kfp.dsl import PipelineTask, structures

Profile = Literal["light", "cpu", "train", "compile", "deploy"]

SCRATCH = "/scratch"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where processes of one pod share batches
CREDENTIALS = "/var/run/secrets/sightline/s3"
CONFIG_MAP = "sightline-environment"
PRICES = "/etc/sightline"
PRICES_MAP = "sightline-prices"
SECRET = "sightline-s3"  # noqa: S105 - the name of a Secret, not its content
USER = 65532


@dataclass(frozen=True)
class Resources:
    """What a task gets; memory is request and limit at once, so that a step is never killed for a neighbour's use.

    Attributes:
        cpu: CPUs requested; there is no limit, because throttling only makes a step slower.
        memory: memory, requested and limited.
        scratch: size limit of the only writable folder.
        timeout_s: seconds after which the pod is stopped.
        retries: further attempts, with a growing pause between them.
        shm: size of /dev/shm in memory, for processes that share batches; counts as memory.
        steady: asks the autoscaler not to move the pod while it works.
    """

    cpu: str
    memory: str
    scratch: str
    timeout_s: int
    retries: int
    shm: str = ""
    steady: bool = False


PROFILES: dict[Profile, Resources] = {
    "light": Resources("250m", "1Gi", "1Gi", timeout_s=1800, retries=3),
    "cpu": Resources("2", "8Gi", "20Gi", timeout_s=4 * 3600, retries=2),
    "train": Resources("4", "16Gi", "50Gi", timeout_s=12 * 3600, retries=5, shm="4Gi", steady=True),
    "compile": Resources("4", "8Gi", "20Gi", timeout_s=4 * 3600, retries=2),
    "deploy": Resources("2", "4Gi", "10Gi", timeout_s=30 * 3600, retries=1, steady=True),  # a day for a person to approve
}

ENVIRONMENT = {
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
    # A task whose GPUs are chosen when the run starts corrects these two, see sightline.cluster.pool.
    "SIGHTLINE_POOL": "cpu",
    "SIGHTLINE_NUM_GPUS": "0",
    "AWS_SHARED_CREDENTIALS_FILE": f"{CREDENTIALS}/credentials",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A tracking server that is away costs a minute, not the step: MLflow's own defaults wait for many.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def place(task: PipelineTask, profile: Profile, where: dict[str, Any] | None = None) -> PipelineTask:
    """The task with everything that a cluster needs to know.

    Kubeflow's own cache is off: it sees neither the content behind a path nor the library's code nor the champion; each step looks itself
    up by digest instead.

    Args:
        task: a step.
        profile: the row of the table that it gets.
        where: pipeline parameters gpus, gpu_resource, node_selector, tolerations and affinity, so that the pool is chosen when a run
            starts; None: a CPU of any node.
    """
    resources = PROFILES[profile]
    task.set_caching_options(enable_caching=False)
    # Each of kfp's setters for these walks the whole call stack, which adds a second to every command; the fields are what they set.
    task.container_spec.resources = structures.ResourceSpec(
        cpu_request=resources.cpu, memory_request=resources.memory, memory_limit=resources.memory
    )
    task.container_spec.env = dict(ENVIRONMENT)
    task.set_retry(resources.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")
    kubernetes.set_timeout(task, resources.timeout_s)
    _isolate(task, resources)
    _describe(task, resources)
    if where:
        _on_pool(task, where)
    return task


def _isolate(task: PipelineTask, resources: Resources) -> None:
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=resources.scratch)
    if resources.shm:
        kubernetes.empty_dir_mount(task, "shm", SHARED_MEMORY, medium="Memory", size_limit=resources.shm)
    # Credentials are a mounted file, and only where the cluster gives pods no identity of their own.
    kubernetes.use_secret_as_volume(task, SECRET, CREDENTIALS, optional=True)
    # What cluster.prices can name: /etc/sightline/prices.yaml.
    kubernetes.use_config_map_as_volume(task, PRICES_MAP, PRICES, optional=True)


def _describe(task: PipelineTask, resources: Resources) -> None:
    # A run that was started in the user interface has no name of its own; the cluster's addresses are not a matter of the pipeline.
    kubernetes.use_field_path_as_env(task, "SIGHTLINE_RUN_ID", "metadata.labels['pipeline/runid']")
    addresses = {"AWS_ENDPOINT_URL": "AWS_ENDPOINT_URL", "AWS_REGION": "AWS_REGION", "SIGHTLINE_KFP_HOST": "SIGHTLINE_KFP_HOST"}
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, addresses, optional=True)
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "sightline")
    kubernetes.add_pod_label(task, "sightline.dev/priority", "sightline-scheduled")
    if resources.steady:
        kubernetes.add_pod_annotation(task, "karpenter.sh/do-not-disrupt", "true")


def _on_pool(task: PipelineTask, where: dict[str, Any]) -> None:
    # The server reads the number of accelerators as text: a whole-number parameter would give the pod none, without a word.
    # kfp 2.17.0 hands node selectors into a group (here the exit handler) by itself, but not what the resources are chosen by.
    task.register_pipeline_channels([where["gpu_resource"], where["gpus"]])
    task.set_accelerator_type(where["gpu_resource"]).set_accelerator_limit(where["gpus"])
    kubernetes.add_node_selector_json(task, where["node_selector"])
    kubernetes.add_toleration_json(task, where["tolerations"])
    kubernetes.add_node_affinity_json(task, where["affinity"])
    kubernetes.add_pod_label(task, "kueue.x-k8s.io/queue-name", "sightline")
    kubernetes.add_pod_label(task, "kueue.x-k8s.io/priority-class", "sightline-scheduled")
