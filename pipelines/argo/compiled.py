"""The YAML files that `kubectl apply` or a GitOps controller takes."""

from pathlib import Path
from typing import Any

import yaml

from pipelines._parameters import DEFAULT
from pipelines.argo.models import plain
from sightline.config.run import RunConfig

FOLDER = Path(__file__).parents[1] / "compiled" / "argo"
_KEYS = ("apiVersion", "kind", "metadata", "spec")


def documents(config: RunConfig = DEFAULT) -> dict[str, list[dict[str, Any]]]:
    """Every object by the name of its file.

    Args:
        config: what runs start with when they are given nothing else.
    """
    from pipelines.argo.drift import event_source, sensor
    from pipelines.argo.flows import monitor_template, retrain_template
    from pipelines.argo.schedules import cron_workflows, drift_config

    objects = {
        "retrain": [retrain_template(config)],
        "monitor": [monitor_template(config)],
        "schedules": cron_workflows(),
        "drift": [event_source(), sensor(drift_config())],
    }
    return {name: [document(model) for model in models] for name, models in objects.items()}


def document(model: Any) -> dict[str, Any]:
    """An object as Kubernetes takes it, its four keys in the usual order."""
    body = plain(model)
    return {key: body[key] for key in _KEYS}


def render(objects: list[dict[str, Any]]) -> str:
    """The objects as one YAML text; the same objects give the same bytes."""
    # A long line stays one line: a folded one would show a change of one word as a change of many lines.
    return yaml.safe_dump_all(objects, sort_keys=False, width=10**6)


def write(folder: Path = FOLDER) -> list[Path]:
    """Writes one file per name; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, objects in documents().items():
        path = folder / f"{name}.yaml"
        path.write_text(render(objects))
        written.append(path)
    return written
