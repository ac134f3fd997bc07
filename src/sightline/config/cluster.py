"""The cluster of distributed work; never part of a step's key: it changes where the work is done and not what comes out."""

from pydantic import Field

from sightline.config.base import Section


class ClusterConfig(Section):
    """Where jobs of their own (training on several nodes, the search, serving) are started; a run on one machine ignores it."""

    namespace: str = "sightline"
    """Namespace of training and tuning jobs."""
    serving_namespace: str = "sightline-serving"
    """Namespace of the InferenceService."""
    train_image: str = ""
    """Image of training and tuning jobs, by digest or content tag; empty: the image that the step itself runs in cannot start jobs."""
    serve_image: str = ""
    """Image of the model server, by digest or content tag."""
    queue: str = "sightline"
    """Kueue's LocalQueue that jobs wait in; empty: no queue."""
    priority_class: str = "sightline-scheduled"
    """Priority class of jobs."""
    training_runtime: str = "torch-distributed"
    """Kubeflow Trainer's ClusterTrainingRuntime."""
    gpus_per_node: int = Field(0, ge=0)
    """GPUs of each training node; 0 trains on CPUs."""
    cpus_per_node: int = Field(4, ge=1)
    """CPUs of each node of a job."""
    memory_gib_per_node: int = Field(16, ge=1)
    """Memory of each node of a job, in GiB."""
    gpu_resource: str = "nvidia.com/gpu"
    """Name of the GPU resource."""
    spot: bool = True
    """Whether jobs may run on spot nodes; they fall back to on-demand nodes where there is no spot capacity."""
    ray_version: str = "2.60.0"
    """Ray in the training image; must be that of the client."""
    prices: str = ""
    """YAML file with the price of each pool per hour; empty: cost is not stated."""
