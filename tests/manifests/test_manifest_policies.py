"""The security checklist, over every object that makes pods; each rule is shown a broken object that it must catch."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.manifests.objects import pod_templates
from tests.manifests.policies import RULES, problems

Mutation = Callable[[dict[str, Any]], Any]


def test_every_object_keeps_every_rule(overlay):
    assert problems(list(overlay)) == []


def test_the_rules_see_every_kind_that_makes_pods(prod, dev):
    seen = {pod.owner.split("/")[0] for rendered in (prod, dev) for body in rendered for pod in pod_templates(body)}
    wanted = {"Deployment", "StatefulSet", "DaemonSet", "ServingRuntime", "WorkflowTemplate", "EventBus", "EventSource", "Sensor"}
    assert seen == wanted
    kinds = {body["kind"] for rendered in (prod, dev) for body in rendered}
    assert not kinds & {"Pod", "Job", "CronJob", "ReplicaSet", "ReplicationController"}, "the rules do not know these"


def _container(body):
    return body["spec"]["template"]["spec"]["containers"][0]


def _pod(body):
    return body["spec"]["template"]["spec"]


BROKEN: dict[str, tuple[str, str, Mutation]] = {
    "containers_are_restricted": ("Deployment", "mlflow", lambda b: _container(b)["securityContext"].update(readOnlyRootFilesystem=False)),
    "pods_are_not_root": ("Deployment", "mlflow", lambda b: _container(b)["securityContext"].update(runAsNonRoot=False)),
    "system_calls_are_filtered": ("DaemonSet", "nvidia-device-plugin", lambda b: _pod(b).pop("securityContext")),
    "memory_is_bounded": ("Deployment", "mlflow", lambda b: _container(b)["resources"]["limits"].update(memory="9Gi")),
    "scratch_is_bounded": ("Deployment", "mlflow", lambda b: _pod(b)["volumes"][0].update(emptyDir={})),
    "the_host_is_out_of_reach": ("Deployment", "mlflow", lambda b: _pod(b).update(hostNetwork=True)),
    "accounts_are_named": ("Deployment", "mlflow", lambda b: _pod(b).pop("serviceAccountName")),
    "tokens_are_not_mounted_without_use": ("Deployment", "mlflow", lambda b: _pod(b).pop("automountServiceAccountToken")),
    "images_do_not_move": ("Deployment", "mlflow", lambda b: _container(b).update(image="ghcr.io/mlflow/mlflow:latest")),
    "secrets_are_files": ("Deployment", "mlflow", lambda b: _container(b)["env"].append({"name": "DB_PASSWORD", "value": "hunter2"})),
    "servers_are_probed": ("Deployment", "mlflow", lambda b: _container(b).pop("startupProbe")),
    "everything_has_a_priority": ("Deployment", "mlflow", lambda b: _pod(b).pop("priorityClassName")),
    "servers_stop_gently": ("Deployment", "mlflow", lambda b: _pod(b).update(terminationGracePeriodSeconds=15)),
    "replicas_are_spread": ("Deployment", "mlflow", lambda b: _pod(b).pop("topologySpreadConstraints")),
    "namespaces_are_restricted": ("Namespace", "sightline", lambda b: b["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce")),
    "roles_are_small": ("Role", "sightline-train", lambda b: b["rules"][0].update(verbs=["*"])),
}


def test_every_rule_has_a_broken_object():
    assert set(BROKEN) == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_catches_the_object_that_breaks_it(name, prod):
    kind, owner, breaking = BROKEN[name]
    body = prod.one(kind, owner)
    assert problems([body]) == []
    breaking(body)
    assert [problem.split(":")[0] for problem in problems([body])] == [name]


def test_a_server_that_may_be_evicted_has_a_disruption_budget(overlay):
    budgets = {b["metadata"]["name"] for b in overlay.of_kind("PodDisruptionBudget")}
    # The database of dev is one pod: a budget for it would only stop a node from being drained.
    assert budgets >= {b["metadata"]["name"] for b in overlay.of_kind("Deployment")}
    assert "model-servers" in budgets


def test_only_the_device_plugin_runs_outside_the_restricted_standard(prod, dev):
    namespaces = {b["metadata"]["name"]: b["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for b in prod.of_kind("Namespace")}
    assert namespaces.pop("sightline-gpu") == "privileged"
    assert set(namespaces.values()) == {"restricted"}
    owners = [pod.owner for body in prod for pod in pod_templates(body) if pod.namespace == "sightline-gpu"]
    assert owners == ["DaemonSet/nvidia-device-plugin"]
    assert not [b for b in dev.of_kind("Namespace") if b["metadata"]["name"] == "sightline-gpu"]


def test_no_object_is_left_in_the_default_namespace(overlay):
    wide = {"Namespace", "PriorityClass", "ResourceFlavor", "ClusterQueue", "WorkloadPriorityClass"}
    homeless = [(b["kind"], b["metadata"]["name"]) for b in overlay if b["kind"] not in wide and not b["metadata"].get("namespace")]
    assert homeless == []
