"""RBAC: what the Roles allow is what the code calls, and nothing else."""

import ast
import re
from collections.abc import Iterable

import pytest

from pipelines.argo.flows import EXECUTOR
from pipelines.argo.steps import STEPS
from tests.manifests.objects import ROOT

SOURCES = ROOT / "src" / "sightline"
# What a method of sightline.cluster.api.Cluster asks for; see `_call` there.
VERBS = {"get": "get", "create": "create", "replace": "update", "patch": "patch", "delete": "delete"}
KINDS = {
    "TRAIN_JOB": "trainer.kubeflow.org/trainjobs",
    "RAY_JOB": "ray.io/rayjobs",
    "INFERENCE_SERVICE": "serving.kserve.io/inferenceservices",
}
# The packages whose calls an account's pods make, and the kind that they make them on. `learn` watches the jobs of both.
PACKAGES = {
    "sightline-train": (("train", "learn"), "TRAIN_JOB"),
    "sightline-tune": (("tune", "learn"), "RAY_JOB"),
    "sightline-deploy": (("deploy",), "INFERENCE_SERVICE"),
}


def calls_of(packages: Iterable[str], kind: str) -> set[tuple[str, str]]:
    """(resource, verb) of every call of the cluster's interface in the packages."""
    found: set[tuple[str, str]] = set()
    for path in [path for name in packages for path in sorted((SOURCES / name).rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found |= _call(node, kind)
    return found


def _call(node: ast.Call, kind: str) -> set[tuple[str, str]]:
    name, first = node.func.attr, ast.unparse(node.args[0]) if node.args else ""
    if name in VERBS and (first == kind or first.lower().endswith("kind")):
        return {(KINDS[kind], VERBS[name])}
    if re.search(r"cluster$", ast.unparse(node.func.value)):
        return {("/pods", "list")} if name == "pods" else {("/pods/log", "get")} if name == "log" else set()
    return set()


def granted(rendered, account: str, namespace: str) -> set[tuple[str, str]]:
    """(resource, verb) that a ServiceAccount of the namespace sightline has in another or the same namespace."""
    roles = {role["metadata"]["name"]: role for role in rendered.of_kind("Role") if role["metadata"]["namespace"] == namespace}
    return {
        (f"{group}/{resource}", verb)
        for binding in rendered.of_kind("RoleBinding")
        if binding["metadata"]["namespace"] == namespace and any(s["name"] == account for s in binding["subjects"])
        for rule in roles[binding["roleRef"]["name"]]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("account", PACKAGES)
def test_a_step_may_do_what_its_code_calls_and_nothing_else(account, prod):
    packages, kind = PACKAGES[account]
    namespace = "sightline-serving" if account == "sightline-deploy" else "sightline"
    calls = calls_of(packages, kind)
    assert calls, "the code calls nothing, so this test sees nothing"
    assert granted(prod, account, namespace) == calls


def test_rights_differ_when_the_code_differs():
    jobs, services = calls_of(("train", "learn"), "TRAIN_JOB"), calls_of(("deploy",), "INFERENCE_SERVICE")
    assert ("serving.kserve.io/inferenceservices", "update") in services
    assert "update" not in {verb for _, verb in jobs}


@pytest.mark.parametrize("account", ["sightline-ingest", "sightline-gate", "sightline-compile", "sightline-monitor", "sightline-report"])
def test_the_other_steps_may_do_nothing(account, overlay):
    assert granted(overlay, account, "sightline") | granted(overlay, account, "sightline-serving") == set()


def test_a_run_of_kubeflow_may_do_what_its_steps_may_and_what_kubeflow_needs(prod):
    run = granted(prod, "sightline-run", "sightline") | granted(prod, "sightline-run", "sightline-serving")
    steps = set().union(*(granted(prod, account, n) for account in PACKAGES for n in ("sightline", "sightline-serving")))
    launcher = {("/configmaps", "get"), ("/pods", "get")}
    assert run == steps | granted(prod, EXECUTOR, "sightline") | launcher
    # The launcher's settings are one ConfigMap, not all.
    assert prod.one("Role", "sightline-kubeflow")["rules"][0]["resourceNames"] == ["kfp-launcher"]


def test_argos_executor_reports_results_and_nothing_else(overlay):
    assert granted(overlay, EXECUTOR, "sightline") == {
        ("argoproj.io/workflowtaskresults", "create"),
        ("argoproj.io/workflowtaskresults", "patch"),
    }


def test_the_sensor_may_only_create_workflows(prod_argo):
    assert granted(prod_argo, "sightline-sensor", "sightline") == {("argoproj.io/workflows", "create")}


def test_every_step_of_argo_has_an_account_that_exists(overlay):
    accounts = {body["metadata"]["name"] for body in overlay.of_kind("ServiceAccount") if body["metadata"]["namespace"] == "sightline"}
    assert {step.service_account for step in STEPS.values()} | {EXECUTOR, "sightline-run"} <= accounts


def test_a_token_is_mounted_by_default_only_where_one_is_used(overlay):
    mounted = {body["metadata"]["name"] for body in overlay.of_kind("ServiceAccount") if body["automountServiceAccountToken"]}
    assert mounted - {"sightline-sensor"} == {"sightline-train", "sightline-tune", "sightline-deploy", "sightline-run"}


def test_every_binding_names_a_role_and_accounts_that_exist(overlay):
    roles = {(b["metadata"]["namespace"], b["metadata"]["name"]) for b in overlay.of_kind("Role")}
    accounts = {(b["metadata"]["namespace"], b["metadata"]["name"]) for b in overlay.of_kind("ServiceAccount")}
    for binding in overlay.of_kind("RoleBinding"):
        assert (binding["metadata"]["namespace"], binding["roleRef"]["name"]) in roles
        assert {(subject["namespace"], subject["name"]) for subject in binding["subjects"]} <= accounts
