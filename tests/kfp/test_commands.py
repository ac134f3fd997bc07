"""The command line over the double: exit codes, JSON on standard output, and everything else on standard error."""

import json
import subprocess
import sys

import pytest
import yaml

from pipelines import __main__ as command
from pipelines import runs
from sightline.store.records import Recorder
from tests.e2e.places import places_below
from tests.fake_kubernetes import FakeKubernetes


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "sightline.yaml"
    path.write_text(yaml.safe_dump({"store": places_below(str(tmp_path / "store")).model_dump(), "ingest": {"source": "/no/such/folder"}}))
    return path


@pytest.fixture
def call(double, capsys, monkeypatch):
    def run(*words, host=True):
        monkeypatch.setattr(sys, "argv", ["pipelines", *map(str, words), *([f"--host={double.host}"] if host else [])])
        code = command.main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_submit_says_where_the_run_is_and_a_second_one_with_the_key_is_the_same(call, config):
    code, first, told = call("submit", config, "--key", "k1", "--json")
    assert code == 0
    assert "Run details" in told
    again = json.loads(call("submit", config, "--key", "k1", "--json")[1])
    assert again == {**json.loads(first), "existing": True}
    assert again["name"] == "retrain-k1"
    assert again["url"].endswith(f"/#/runs/details/{again['run_id']}")


def test_waiting_for_a_run_whose_step_fails_ends_with_its_state_and_exit_code_1(call, config, monkeypatch):
    real = runs.wait
    monkeypatch.setattr(runs, "wait", lambda *args, **more: real(*args, **{**more, "every_s": 0.2}))
    code, said, told = call("submit", config, "--pipeline", "monitor", "--parameter", "served=/nothing/served", "--wait", "--json")
    assert code == 1
    assert json.loads(said)["state"] == "FAILED"
    assert "http://" in told


def test_a_wrong_parameter_names_those_that_there_are(call, config):
    code, said, told = call("submit", config, "--parameter", "epoch=3")
    assert (code, said) == (2, "")
    assert "epochs" in told


def test_runs_are_listed_with_what_their_records_say(call, config, server):
    run = json.loads(call("submit", config, "--key", "k2", "--json")[1])
    found = json.loads(call("runs", "list", "--json")[1])
    assert [one["name"] for one in found] == ["retrain-k2"]
    shown = runs.find_run(server, "retrain-k2")
    recorder = Recorder(shown.store.runs, shown.records, name="train", key="")
    recorder.done(outcome="done", headline="val accuracy 0.9", folder="", digest="", cached=False, metrics={})
    code, said, _ = call("runs", "logs", run["run_id"], "train")
    assert code == 0
    assert "train: done done val accuracy 0.9" in said
    assert "retrain-k2" in call("runs", "list")[1]


def test_logs_show_what_the_pods_of_the_run_wrote_where_a_kubeconfig_is_there(call, config, tmp_path, monkeypatch):
    run = json.loads(call("submit", config, "--key", "k5", "--json")[1])
    with FakeKubernetes(tmp_path) as cluster:
        for name, run_id in (("system-container-impl-1", run["run_id"]), ("system-container-driver-2", run["run_id"]), ("impl-3", "other")):
            cluster.put_pod(f"retrain-x-{name}", {"pipeline/runid": run_id}, status={"phase": "Running"})
            cluster.write_log(f"retrain-x-{name}", f"said by {name}")
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        pods = json.loads(call("runs", "logs", "retrain-k5", "--json")[1])["pods"]
    assert pods == {"retrain-x-system-container-impl-1": "said by system-container-impl-1"}


@pytest.mark.parametrize(
    ("node", "step", "expected"),
    [
        ("retrain-x.exit-handler-1.train(0).executor", "train", True),
        ("retrain-x.exit-handler-1.ingest(0).executor", "train", False),
        ("retrain-x.exit-handler-1.condition-2.gate-2(1).executor", "gate-compiled", True),
    ],
)
def test_a_pod_belongs_to_the_step_of_its_node_and_not_to_what_the_workflow_is_called(node, step, expected):
    assert runs.belongs_to({"metadata": {"annotations": {"workflows.argoproj.io/node-name": node}}}, step) is expected


def test_a_run_that_is_stopped_is_canceled_and_cannot_be_stopped_twice(call, config, server):
    call("submit", config, "--key", "k3")
    assert call("runs", "stop", "retrain-k3")[0] == 0
    assert runs.wait(server, runs.find_run(server, "retrain-k3").run_id, timeout_s=20, every_s=0.1).state == "CANCELED"
    code, _, told = call("runs", "stop", "retrain-k3")
    assert code == 2
    assert "has ended: CANCELED" in told


def test_a_run_that_goes_on_after_the_time_to_wait_is_exit_code_75(call, config):
    call("submit", config, "--key", "k4")
    code, _, told = call("runs", "wait", "retrain-k4", "--timeout", "0")
    assert code in {1, 75}
    assert code == 1 or "sightline runs wait retrain-k4" in told


def test_a_run_that_nobody_has_is_a_usage_error(call):
    code, _, told = call("runs", "logs", "nobody")
    assert code == 2
    assert "sightline runs list" in told


def test_a_plan_with_differences_is_exit_code_4_and_without_is_0(call, tmp_path):
    (tmp_path / "one.yaml").write_text('name: one\npipeline: monitor\ncron: "0 0 * * * *"\n')
    code, said, _ = call("schedule", "plan", tmp_path)
    assert (code, said.splitlines()[0]) == (4, "+ one")
    assert call("schedule", "apply", tmp_path)[0] == 0
    assert call("schedule", "plan", tmp_path)[0] == 0
    (tmp_path / "one.yaml").write_text('name: one\npipeline: monitor\ncron: "0 30 * * * *"\n')
    assert json.loads(call("schedule", "plan", tmp_path, "--json")[1]) == [
        {"kind": "change", "name": "one", "fields": {"cron": {"old": "0 0 * * * *", "new": "0 30 * * * *"}}}
    ]


def test_the_sightline_command_hands_over_output_and_exit_code(double, tmp_path):
    words = ["schedule", "plan", "schedules", "--host", double.host, "--json"]
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "one.yaml").write_text('name: one\npipeline: monitor\ncron: "0 0 * * * *"\n')
    code = "import sys; from sightline.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout) == [{"kind": "add", "name": "one", "fields": {}}]


def test_the_address_comes_from_the_environment_too(call, double, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_KFP_HOST", double.host)
    code, said, _ = call("runs", "list", host=False)
    assert (code, said) == (0, "no runs yet\n")
