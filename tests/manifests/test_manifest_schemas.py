"""Every object has the form that Kubernetes or its operator takes, unknown fields included."""

import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError

from tests.manifests.custom import MODELS
from tests.manifests.objects import pod_templates

VERSION = "1.35"
# Written with the models of the argo-workflows package, and looked at by tests/argo.
TESTED_ELSEWHERE = {"WorkflowTemplate", "CronWorkflow", "EventSource", "Sensor"}


def problem(body) -> str:
    """What is wrong with the form of an object; empty when nothing is."""
    kind = body["kind"]
    if kind in MODELS:
        try:
            MODELS[kind].model_validate(body)
        except ValidationError as error:
            return str(error)
        return ""
    try:
        kubernetes_validate.validate(body, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


def test_every_object_has_the_form_of_its_kind(overlay):
    wrong = {f"{b['kind']}/{b['metadata']['name']}": problem(b) for b in overlay if b["kind"] not in TESTED_ELSEWHERE}
    assert {name: text for name, text in wrong.items() if text} == {}


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("Deployment", "mlflow", "spec.template.spec"),
        ("NetworkPolicy", "kubeflow", "spec"),
        ("ClusterQueue", "sightline", "spec"),
        ("ExternalSecret", "mlflow-database", "spec.target"),
        ("PrometheusRule", "sightline-runs", "spec"),
        ("EventBus", "default", "spec.jetstream"),
    ],
)
def test_a_misspelt_field_is_an_error(kind, name, path, overlays):
    body = overlays["prod-argo" if kind == "EventBus" else "prod"].one(kind, name)
    place = body
    for part in path.split("."):
        place = place[part]
    place["priorityKlass"] = "sightline-serving"
    assert "priorityKlass" in problem(body)


def test_a_value_of_the_wrong_type_is_an_error(prod):
    body = prod.one("Deployment", "mlflow")
    body["spec"]["replicas"] = "two"
    assert "replicas" in problem(body) or "two" in problem(body)


def test_the_pipelines_are_the_compiled_ones_but_for_their_namespace_and_images(manifests, prod_argo):
    for path in sorted((manifests.parent / "pipelines" / "compiled" / "argo").glob("*.yaml")):
        for compiled in yaml.safe_load_all(path.read_text()):
            rendered = prod_argo.one(compiled["kind"], compiled["metadata"]["name"], "sightline")
            del rendered["metadata"]["namespace"]
            assert _without_images(rendered) == _without_images(compiled)


def _without_images(body):
    if isinstance(body, dict):
        return {key: _without_images(value) for key, value in body.items() if key != "image"}
    return [_without_images(item) for item in body] if isinstance(body, list) else body


def test_no_object_appears_twice(overlay):
    names = [(b["kind"], b["metadata"].get("namespace"), b["metadata"]["name"]) for b in overlay]
    assert len(names) == len(set(names))


def test_objects_name_only_what_exists(overlay):
    accounts = {(b["metadata"]["namespace"], b["metadata"]["name"]) for b in overlay.of_kind("ServiceAccount")}
    priorities = {b["metadata"]["name"] for b in overlay.of_kind("PriorityClass")} | {"system-node-critical"}
    for pod in [pod for body in overlay for pod in pod_templates(body) if not pod.is_fragment]:
        assert (pod.namespace, pod.spec["serviceAccountName"]) in accounts, pod.owner
        assert pod.spec.get("priorityClassName", "system-node-critical") in priorities, pod.owner


def test_no_overlay_has_two_ways_that_start_runs_by_themselves(dev, prod, prod_argo):
    assert not prod.of_kind("CronWorkflow")
    assert all(schedule["spec"]["suspend"] for schedule in dev.of_kind("CronWorkflow"))
    assert prod_argo.of_kind("CronWorkflow")
    assert not any(body["metadata"]["name"] == "kubeflow" for body in prod_argo)
