"""A configuration as the parameters of a pipeline: what a run starts with when nobody types anything, and what a person changes."""

from collections.abc import Mapping
from typing import Any

from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.errors import UsageError

CLUSTER_STORE = StoreConfig(
    cache="s3://sightline/cache",
    registry="s3://sightline/registry",
    runs="s3://sightline/runs",
    jobs="s3://sightline/jobs",
    tracking="http://mlflow.sightline-tracking:5000",
)
GENERATED = "generated://surfaces"
SERVED = "s3://sightline/served"
SECTIONS = {
    "retrain": ("ingest", "tune", "train", "gate", "compile", "deploy", "store", "cluster"),
    "monitor": ("monitor", "store"),
}
RETRAINED = tuple(name for name in SECTIONS["retrain"] if name != "store")

# What a text parameter may be; Kubeflow's form shows a list to choose from and its server refuses anything else.
CHOICES = {"gpus": ("0", "1", "2", "4", "8"), "on_drift": ("report", "retrain")}

# Values that a person changes from run to run have a field of their own in the form and are not part of their section's JSON.
_FIELDS = {
    "source": ("ingest", "source"),
    "pin": ("ingest", "pin"),
    "epochs": ("train", "epochs"),
    "num_nodes": ("train", "num_nodes"),
}
_GPU_POOL = {"sightline.dev/pool": "gpu"}
_TOLERATIONS = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
_SPOT_TOLERATION = {"key": "sightline.dev/spot", "operator": "Exists", "effect": "NoSchedule"}
_PREFER_SPOT = {
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {
            "weight": 100,
            "preference": {"matchExpressions": [{"key": "sightline.dev/capacity", "operator": "In", "values": ["spot"]}]},
        }
    ]
}


def parameters(name: str, config: RunConfig) -> dict[str, Any]:
    """Every parameter of a pipeline but ``run_id``, with its value from the configuration.

    Args:
        name: retrain or monitor.
        config: places as a cluster reaches them, see `for_cluster`.
    """
    if name == "retrain":
        return {**from_sections(name, sections(config, SECTIONS[name])), **placement(config)}
    values = from_sections(name, sections(config, SECTIONS[name]))
    return {**values, "served": SERVED, "on_drift": "report", "retrain": sections(config, RETRAINED)}


def sections(config: RunConfig, names: tuple[str, ...]) -> dict[str, Any]:
    """Sections as JSON values; Kubeflow has no null in a dict parameter, and a key that is left out has its default, null for these."""
    return {name: getattr(config, name).model_dump(mode="json", exclude_none=True) for name in names}


def from_sections(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Whole sections as the pipeline's parameters: the values with a field of their own are taken out of their section."""
    if name != "retrain":
        return dict(values)
    split = {key: dict(value) if key in SECTIONS[name] else value for key, value in values.items()}
    fields = {field: split[section].pop(key) for field, (section, key) in _FIELDS.items() if key in split.get(section, {})}
    return {**split, **fields}


def placement(config: RunConfig) -> dict[str, Any]:
    """Where training and the search run: on the GPU pool where the configuration asks for GPUs, on spot nodes first where it allows them.

    A step that starts a TrainJob and follows it holds no GPU itself.
    """
    spot, gpus = config.cluster.spot, 0 if config.train.launcher == "trainjob" else config.cluster.gpus_per_node
    return {
        "gpus": str(gpus),
        "gpu_resource": config.cluster.gpu_resource,
        "node_selector": _GPU_POOL if gpus else {},
        "tolerations": [*(_TOLERATIONS if gpus else []), *([_SPOT_TOLERATION] if spot else [])],
        "affinity": _PREFER_SPOT if spot else {},
    }


def for_cluster(config: RunConfig) -> RunConfig:
    """The configuration with places that a cluster reaches where the file says nothing.

    Raises:
        UsageError: the file names folders that only this machine can resolve.
    """
    given = {name: getattr(config.store, name) for name in config.store.model_fields_set}
    source = config.ingest.source or GENERATED
    local = [f"store.{name}: {value}" for name, value in given.items() if not _reachable(value)]
    local += [] if _reachable(source) else [f"ingest.source: {source}"]
    if local:
        raise UsageError(
            "a cluster cannot reach relative folders of this machine:\n  - " + "\n  - ".join(local),
            remedy="use s3://bucket/prefix, or an absolute folder that every node mounts",
        )
    ingest = config.ingest.model_copy(update={"source": source})
    return config.model_copy(update={"ingest": ingest, "store": CLUSTER_STORE.model_copy(update=given)})


def _reachable(place: str) -> bool:
    if place.startswith("sqlite:///"):
        return place.startswith("sqlite:////")
    return "://" in place or place.startswith("/")


DEFAULT = for_cluster(RunConfig())
