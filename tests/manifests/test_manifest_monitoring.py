"""Alerts fire when they should and only then, as Prometheus itself evaluates them (`promtool test rules`)."""

import copy
import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from sightline.serve.metrics import Metrics
from tests.manifests.objects import ROOT

RUNBOOKS = {"drift-alert", "canary-rolled-back", "gate-inconclusive", "gpu-pool-empty", "store-corrupt", "rollback"}
OLD, NEW = 'model="shapes",version="aaa",track="route"', 'model="shapes",version="bbb",track="route"'
WAITING = 'kube_pod_container_status_waiting_reason{namespace="sightline-serving",pod="shapes-1",reason="%s"}'
RUNS = 'argo_workflows_total_count{namespace="sightline",phase="%s"}'


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if not found:
        pytest.skip("promtool is not on PATH; it is in Debian's package `prometheus` and in Prometheus' release archives")
    return found


def rules_of(rendered) -> dict[str, Any]:
    return {"groups": [group for body in rendered.of_kind("PrometheusRule") for group in body["spec"]["groups"]]}


def alerts_of(rendered) -> dict[str, Any]:
    return {rule["alert"]: rule for group in rules_of(rendered)["groups"] for rule in group["rules"] if "alert" in rule}


def series(name: str, values: str) -> dict[str, str]:
    return {"series": name, "values": values}


# name: (alert, when it is looked at, labels of what must fire or None, the series). One sample a minute unless said otherwise.
CASES: dict[str, tuple[str, str, dict[str, str] | None, list[dict[str, str]]]] = {
    "nothing is collected": ("SightlineNoServer", "10m", {"severity": "critical"}, []),
    "all servers are unready": ("SightlineNoServer", "10m", {"severity": "critical"}, [series(f"sightline_ready{{{OLD}}}", "0x30")]),
    "one server is ready": ("SightlineNoServer", "10m", None, [series(f"sightline_ready{{{OLD}}}", "1x30")]),
    "a server is away for a minute": ("SightlineNoServer", "10m", None, [series(f"sightline_ready{{{OLD}}}", "1x8 0 1x20")]),
    "five percent fail": (
        "SightlineFailures",
        "70m",
        {"severity": "critical", "model": "shapes", "version": "aaa"},
        [
            series(f'sightline_requests_total{{{OLD},status="200"}}', "0+950x90"),
            series(f'sightline_requests_total{{{OLD},status="500"}}', "0+50x90"),
        ],
    ),
    "one in a thousand fails": (
        "SightlineFailures",
        "70m",
        None,
        [
            series(f'sightline_requests_total{{{OLD},status="200"}}', "0+999x90"),
            series(f'sightline_requests_total{{{OLD},status="500"}}', "0+1x90"),
        ],
    ),
    "clients send rubbish": (
        "SightlineFailures",
        "70m",
        None,
        [
            series(f'sightline_requests_total{{{OLD},status="200"}}', "0+500x90"),
            series(f'sightline_requests_total{{{OLD},status="422"}}', "0+500x90"),
        ],
    ),
    "the failures are over": (
        "SightlineFailures",
        "70m",
        None,
        [
            series(f'sightline_requests_total{{{OLD},status="200"}}', "0+950x90"),
            series(f'sightline_requests_total{{{OLD},status="500"}}', "0+50x40 2000x60"),
        ],
    ),
    "half of the requests are slow": (
        "SightlineSlow",
        "30m",
        {"severity": "warning", "model": "shapes", "version": "aaa"},
        [
            series(f'sightline_request_seconds_bucket{{{OLD},le="0.2"}}', "0+300x40"),
            series(f'sightline_request_seconds_bucket{{{OLD},le="0.5"}}', "0+600x40"),
            series(f'sightline_request_seconds_bucket{{{OLD},le="+Inf"}}', "0+600x40"),
            series(f'sightline_requests_total{{{OLD},status="200"}}', "0+600x40"),
        ],
    ),
    "requests are quick": (
        "SightlineSlow",
        "30m",
        None,
        [
            series(f'sightline_request_seconds_bucket{{{OLD},le="0.1"}}', "0+600x40"),
            series(f'sightline_request_seconds_bucket{{{OLD},le="+Inf"}}', "0+600x40"),
            series(f'sightline_requests_total{{{OLD},status="200"}}', "0+600x40"),
        ],
    ),
    "a tenth is refused": (
        "SightlineOverloaded",
        "30m",
        {"severity": "warning", "model": "shapes", "version": "aaa"},
        [
            series(f'sightline_requests_total{{{OLD},status="200"}}', "0+90x40"),
            series(f'sightline_requests_total{{{OLD},status="429"}}', "0+10x40"),
        ],
    ),
    # Samples every five minutes from here on: two days are 576 of them.
    "a canary came and went": (
        "SightlineCanaryRolledBack",
        "34h",
        {"severity": "warning", "model": "shapes", "version": "bbb"},
        [series(f"sightline_ready{{{OLD}}}", "1x576"), series(f"sightline_ready{{{NEW}}}", "_x384 1x12 stale")],
    ),
    "a canary was promoted": (
        "SightlineCanaryRolledBack",
        "34h",
        None,
        [series(f"sightline_ready{{{OLD}}}", "1x396 stale"), series(f"sightline_ready{{{NEW}}}", "_x384 1x192")],
    ),
    "two promotions on one day": (
        "SightlineCanaryRolledBack",
        "34h",
        None,
        [
            series(f"sightline_ready{{{OLD}}}", "1x380 stale"),
            series(f"sightline_ready{{{NEW}}}", "_x370 1x30 stale"),
            series('sightline_ready{model="shapes",version="ccc",track="route"}', "_x396 1x180"),
        ],
    ),
    "a server does not start": (
        "SightlineServerCannotStart",
        "30m",
        {"severity": "critical", "namespace": "sightline-serving", "pod": "shapes-1"},
        [series(WAITING % "CrashLoopBackOff", "1x60")],
    ),
    "a server is still starting": (
        "SightlineServerCannotStart",
        "30m",
        None,
        [series(WAITING % "ContainerCreating", "1x60")],
    ),
    # Ten days of hours.
    "the classes changed": (
        "SightlineClassShift",
        "195h",
        {"severity": "warning", "model": "shapes"},
        [
            series(f'sightline_images_total{{{OLD},label="circle"}}', "0+2000x185 370500+500x40"),
            series(f'sightline_images_total{{{OLD},label="square"}}', "0+2000x185 371500+3500x40"),
        ],
    ),
    "the classes are as they were": (
        "SightlineClassShift",
        "195h",
        None,
        [
            series(f'sightline_images_total{{{OLD},label="circle"}}', "0+2000x240"),
            series(f'sightline_images_total{{{OLD},label="square"}}', "0+2100x240"),
        ],
    ),
    "too few images to tell": (
        "SightlineClassShift",
        "195h",
        None,
        [
            series(f'sightline_images_total{{{OLD},label="circle"}}', "0+20x185 3705+5x40"),
            series(f'sightline_images_total{{{OLD},label="square"}}', "0+20x185 3715+35x40"),
        ],
    ),
    "the served log loses images": (
        "SightlineServedLogIncomplete",
        "90m",
        {"severity": "warning", "model": "shapes"},
        [series(f"sightline_log_dropped_total{{{OLD}}}", "0+3x120")],
    ),
    "the served log is whole": ("SightlineServedLogIncomplete", "90m", None, [series(f"sightline_log_dropped_total{{{OLD}}}", "7x120")]),
    "a run failed": (
        "SightlineRunFailed",
        "90m",
        {"severity": "warning", "namespace": "sightline"},
        [series(RUNS % "Failed", "2x60 3x60")],
    ),
    "a failure of long ago": ("SightlineRunFailed", "150m", None, [series(RUNS % "Failed", "2x60 3x120")]),
    "no controller is collected": ("SightlineNothingRuns", "90m", {"severity": "warning"}, []),
    "no run for nine days": ("SightlineNothingRuns", "220h", {"severity": "warning"}, [series(RUNS % "Succeeded", "5x240")]),
    "a run every day": ("SightlineNothingRuns", "220h", None, [series(RUNS % "Succeeded", "0+0.05x240")]),
    "runs succeed and nothing changes": (
        "SightlineModelNotReplaced",
        "350h",
        {"severity": "info", "model": "shapes", "version": "aaa"},
        [series(f"sightline_ready{{{OLD}}}", "1x400"), series(RUNS % "Succeeded", "0+0.05x400")],
    ),
    "the model is new": (
        "SightlineModelNotReplaced",
        "350h",
        None,
        [series(f"sightline_ready{{{OLD}}}", "_x100 1x300"), series(RUNS % "Succeeded", "0+0.05x400")],
    ),
    "a job waits and there is no gpu": (
        "SightlineGpuPoolEmpty",
        "60m",
        {"severity": "warning"},
        [series('kueue_pending_workloads{cluster_queue="sightline",status="active"}', "1x120")],
    ),
    "a job waits for a gpu in use": (
        "SightlineGpuPoolEmpty",
        "60m",
        None,
        [
            series('kueue_pending_workloads{cluster_queue="sightline",status="active"}', "1x120"),
            series('kube_node_status_allocatable{resource="nvidia_com_gpu",node="a"}', "1x120"),
        ],
    ),
    "a pod finds no node": (
        "SightlinePodsUnplaced",
        "60m",
        {"severity": "warning", "namespace": "sightline"},
        [series('kube_pod_status_unschedulable{namespace="sightline",pod="train-1"}', "1x120")],
    ),
    "another team's pod finds no node": (
        "SightlinePodsUnplaced",
        "60m",
        None,
        [series('kube_pod_status_unschedulable{namespace="shop",pod="web-1"}', "1x120")],
    ),
    "jobs wait and none runs": (
        "SightlineQueueStuck",
        "3h",
        {"severity": "warning"},
        [
            series('kueue_pending_workloads{cluster_queue="sightline",status="inadmissible"}', "1x240"),
            series('kueue_admitted_active_workloads{cluster_queue="sightline"}', "0x240"),
        ],
    ),
    "jobs wait behind one that runs": (
        "SightlineQueueStuck",
        "3h",
        None,
        [
            series('kueue_pending_workloads{cluster_queue="sightline",status="active"}', "1x240"),
            series('kueue_admitted_active_workloads{cluster_queue="sightline"}', "1x240"),
        ],
    ),
}
_INTERVALS = {
    "SightlineCanaryRolledBack": "5m",
    "SightlineClassShift": "1h",
    "SightlineNothingRuns": "1h",
    "SightlineModelNotReplaced": "1h",
}


def one_test(name: str) -> dict[str, Any]:
    alert, at, labels, inputs = CASES[name]
    expected = {"eval_time": at, "alertname": alert, "exp_alerts": [] if labels is None else [{"exp_labels": labels}]}
    return {"name": name, "interval": _INTERVALS.get(alert, "1m"), "input_series": inputs, "alert_rule_test": [expected]}


def bare(rules: dict[str, Any]) -> dict[str, Any]:
    """Without annotations: their numbers are not what a test is about, and promtool compares them letter by letter."""
    rules = copy.deepcopy(rules)
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule.pop("annotations", None)
    return rules


def run(promtool, folder, rules: dict[str, Any], tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump(bare(rules)))
    # Rules are evaluated as often as there are samples: every minute of two weeks would take minutes.
    text = {"rule_files": ["rules.yaml"], "evaluation_interval": tests[0]["interval"], "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(text))
    return subprocess.run([promtool, "test", "rules", "tests.yaml"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_rules_are_valid(promtool, overlay, tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules_of(overlay)))
    done = subprocess.run(
        [promtool, "check", "rules", "--lint-fatal", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name, promtool, prod, tmp_path):
    done = run(promtool, tmp_path, rules_of(prod), [one_test(name)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_shown_a_case_that_fires_and_one_that_does_not(prod):
    fires = {alert for alert, _, labels, _ in CASES.values() if labels is not None}
    quiet = {alert for alert, _, labels, _ in CASES.values() if labels is None}
    assert fires == set(alerts_of(prod))
    assert quiet >= set(alerts_of(prod)) - {"SightlineOverloaded"}


@pytest.mark.parametrize(
    ("alert", "was", "becomes", "case"),
    [
        ("SightlineFailures", "> 0.01", "> 0.5", "five percent fail"),
        ("SightlineFailures", "> 0.01", "> 0.0001", "one in a thousand fails"),
        ("SightlineNoServer", "absent(sightline_ready == 1)", "sightline_ready == 0", "nothing is collected"),
        ("SightlineClassShift", "> 1000", "> 10", "too few images to tell"),
        ("SightlineRunFailed", "Failed|Error", "Error", "a run failed"),
    ],
)
def test_a_rule_with_another_threshold_fails_its_test(alert, was, becomes, case, promtool, prod, tmp_path):
    rules = rules_of(prod)
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == alert):
        assert was in rule["expr"]
        rule["expr"] = rule["expr"].replace(was, becomes)
    assert run(promtool, tmp_path, rules, [one_test(case)]).returncode != 0


def test_an_alert_names_its_runbook_and_how_bad_it_is(overlay):
    named = set()
    for name, rule in alerts_of(overlay).items():
        found = re.fullmatch(r"docs/runbooks/([a-z-]+)\.md", rule["annotations"]["runbook_url"])
        assert found, name
        named.add(found.group(1))
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"].endswith("."), name
        assert rule["annotations"]["description"].endswith("."), name
    assert named == RUNBOOKS


def queries(rendered) -> list[str]:
    """Every PromQL expression of rules and dashboards."""
    boards = [json.loads(text) for body in rendered.of_kind("ConfigMap") for name, text in body["data"].items() if name.endswith(".json")]
    shown = [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]]
    return shown + [rule["expr"] for group in rules_of(rendered)["groups"] for rule in group["rules"]]


def test_every_series_of_ours_is_one_that_a_server_writes_or_a_rule_records(overlay):
    metrics = Metrics(model="m", version="v", track="t")
    metrics.request(200, 0.1)
    metrics.answered(("circle",))
    written = set(re.findall(r"^(sightline_\w+)", metrics.text(num_dropped=0, ready=True), re.MULTILINE))
    recorded = {rule["record"] for group in rules_of(overlay)["groups"] for rule in group["rules"] if "record" in rule}
    used = {name for query in queries(overlay) for name in re.findall(r"\bsightline[:_][a-z0-9_:]+", query)}
    assert used <= written | recorded
    assert recorded <= used, "a recorded series that nobody reads"


# Read in the projects' own documentation at the versions of the table.
OTHERS = {
    "argo_workflows_total_count",
    "kube_node_status_allocatable",
    "kube_pod_container_resource_requests",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_status_unschedulable",
    "kube_resourcequota",
    "kueue_admission_wait_time_seconds_bucket",
    "kueue_admitted_active_workloads",
    "kueue_pending_workloads",
}


def test_every_series_of_others_is_one_that_they_document(overlay):
    used = {name for query in queries(overlay) for name in re.findall(r"\b(?:argo|kube|kueue)_[a-z0-9_]+", query)}
    assert used == OTHERS


def test_dashboards_are_found_by_grafana_and_draw_valid_queries(overlay, promtool, tmp_path):
    boards = [b for b in overlay.of_kind("ConfigMap") if b["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    assert sorted(name for board in boards for name in board["data"]) == ["runs.json", "serving.json"]
    rules = [{"record": f"panel:{index}", "expr": query.replace("$model", ".*")} for index, query in enumerate(queries(overlay))]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", "panels.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_monitor_collects_the_port_that_the_runtimes_name(overlay):
    endpoint = overlay.one("PodMonitor", "model-servers")["spec"]["podMetricsEndpoints"][0]
    for runtime in overlay.of_kind("ServingRuntime"):
        ports = {port.get("name"): port["containerPort"] for c in runtime["spec"]["containers"] for port in c.get("ports", [])}
        assert endpoint["port"] in ports, runtime["metadata"]["name"]


def test_runbooks_that_exist_are_the_ones_that_alerts_name():
    folder = ROOT / "docs" / "runbooks"
    if not folder.is_dir():
        pytest.skip("docs/runbooks is not written yet")
    assert {path.stem for path in folder.glob("*.md")} >= RUNBOOKS
