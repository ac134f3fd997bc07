"""The branches of the templates, run by the interpreter with a stand-in for `sightline` that says what each step is told to say."""

import json
import sys
from pathlib import Path

import pytest

from pipelines.argo.arguments import config_text
from pipelines.argo.compiled import document
from pipelines.argo.flows import monitor_template, retrain_template
from sightline.config.load import parse_config
from sightline.config.run import RunConfig
from tests.argo.interpreter import Interpreter, TemplateError, evaluate, replaced

STAND_IN = """#!{python} -SE
import json, os, pathlib, sys
folder = pathlib.Path(os.environ["STAND_IN"])
arguments = sys.argv[2:]
given = dict(zip(arguments[1::2], arguments[2::2]))
name = arguments[0] + ("-" + given["--stage"] if "--stage" in given else "")
calls = folder / (name + ".calls")
before = len(calls.read_text().splitlines()) if calls.exists() else 0
with calls.open("a") as file:
    file.write(json.dumps(arguments) + chr(10))
plan = json.loads((folder / "plan.json").read_text())
codes = plan.get("codes", {{}}).get(name, [])
if before < len(codes) and codes[before]:
    sys.exit(codes[before])
outputs = pathlib.Path(given["--outputs"])
outputs.mkdir(parents=True)
if name not in plan.get("silent", []):
    (outputs / "outcome").write_text(plan.get("words", {{}}).get(name, "done"))
(outputs / "artifact").write_text("s3://bucket/cache/" + name + "/key")
"""

PASS = {"gate-trained": "pass", "gate-compiled": "pass", "deploy": "promoted", "report": "promoted"}
TO_THE_FIRST_GATE = ["ingest", "tune", "train", "gate-trained"]
TO_THE_SECOND_GATE = [*TO_THE_FIRST_GATE, "compile", "gate-compiled"]


@pytest.fixture
def stand_in(tmp_path) -> Path:
    path = tmp_path / "bin" / "sightline"
    path.parent.mkdir()
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return path.parent


@pytest.fixture
def run(tmp_path, stand_in):
    def start(template=None, *, resume=lambda: False, arguments=None, **plan):
        (tmp_path / "plan.json").write_text(json.dumps({"words": PASS, **plan}))
        body = document(template or retrain_template())
        environment = {"STAND_IN": str(tmp_path)}
        flow = Interpreter(body, "run-1", tmp_path / "pods", stand_in, arguments or {}, environment, resume)
        flow.run()
        return flow

    return start


@pytest.fixture
def calls(tmp_path):
    def of(name):
        path = tmp_path / f"{name}.calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return of


def after(call, flag):
    return [call[index + 1] for index, word in enumerate(call) if word == flag]


def test_a_model_that_passes_both_gates_is_deployed_and_reported(run, calls):
    flow = run()
    assert flow.phase == "Succeeded"
    assert flow.ran() == [*TO_THE_SECOND_GATE, "deploy", "onExit"]
    (deploy,) = calls("deploy")
    assert after(deploy, "--input") == [
        "model=s3://bucket/cache/compile/key",
        "verdict=s3://bucket/cache/gate-compiled/key",
        "dataset=s3://bucket/cache/ingest/key",
    ]
    assert after(deploy, "--run-id") == ["run-1"]
    assert [after(calls(f"gate-{stage}")[0], "--stage") for stage in ("trained", "compiled")] == [["trained"], ["compiled"]]


@pytest.mark.parametrize("word", ["fail", "inconclusive"])
def test_a_trained_model_that_the_gate_does_not_pass_is_rejected_and_nothing_is_compiled(run, calls, word):
    flow = run(words={**PASS, "gate-trained": word, "report": "rejected"})
    assert flow.phase == "Succeeded", "a rejected model is a result"
    assert flow.ran() == [*TO_THE_FIRST_GATE, "reject-trained", "onExit"]
    assert after(calls("reject")[0], "--input") == ["verdict=s3://bucket/cache/gate-trained/key"]
    assert after(calls("report")[0], "--state") == ["Succeeded"]


@pytest.mark.parametrize("word", ["fail", "inconclusive"])
def test_a_compiled_model_that_the_gate_does_not_pass_is_rejected_and_nothing_is_deployed(run, calls, word):
    flow = run(words={**PASS, "gate-compiled": word, "report": "rejected"})
    assert flow.ran() == [*TO_THE_SECOND_GATE, "reject-compiled", "onExit"]
    assert after(calls("reject")[0], "--input") == ["verdict=s3://bucket/cache/gate-compiled/key"]


def test_a_gate_that_says_nothing_is_not_a_gate_that_passed(run):
    assert run(silent=["gate-trained"]).ran() == [*TO_THE_FIRST_GATE, "reject-trained", "onExit"]


def test_a_step_that_fails_for_good_is_not_repeated_and_the_report_is_told_which_step_and_why(run, calls):
    flow = run(codes={"train": [65]})
    assert (flow.phase, flow.ran()) == ("Failed", ["ingest", "tune", "train", "onExit"])
    assert len(calls("train")) == 1
    (report,) = calls("report")
    assert after(report, "--state") == ["Failed"]
    told = json.loads(json.loads(after(report, "--error")[0]))
    assert told == [{"displayName": "train", "message": "Error (exit code 65)", "phase": "Failed"}]


@pytest.mark.parametrize("code", [75, 137, 143])
def test_a_step_that_may_succeed_another_time_is_repeated(run, calls, code):
    flow = run(codes={"train": [code]})
    assert flow.phase == "Succeeded"
    assert [attempt.exit_code for attempt in flow.nodes["train"].attempts] == [code, 0]
    assert len(calls("train")) == 2
    assert len(calls("ingest")) == 1


@pytest.mark.parametrize("code", [1, 2, 3, 65])
def test_a_step_that_will_fail_again_is_not_repeated(run, calls, code):
    assert run(codes={"compile": [code]}).phase == "Failed"
    assert len(calls("compile")) == 1


def test_repeating_ends(run, calls):
    assert run(codes={"gate-trained": [75] * 10}).phase == "Failed"
    assert len(calls("gate-trained")) == 3


def test_a_report_that_finds_no_decision_fails_the_run(run):
    assert run(codes={"report": [1]}).phase == "Failed"


def test_a_run_that_asks_for_approval_waits_before_the_canary(run):
    asked = []
    flow = run(resume=lambda: asked.append("asked") is None, arguments={"approval": "required"})
    assert (asked, flow.phase) == (["asked"], "Succeeded")
    assert flow.ran() == [*TO_THE_SECOND_GATE, "approve", "deploy", "onExit"]


def test_a_run_that_is_not_approved_deploys_nothing(run):
    flow = run(resume=lambda: False, arguments={"approval": "required"})
    assert flow.phase == "Failed"
    assert flow.ran() == [*TO_THE_SECOND_GATE, "approve", "onExit"]


def test_nobody_is_asked_about_a_model_that_was_refused(run):
    flow = run(words={**PASS, "gate-compiled": "fail"}, arguments={"approval": "required"}, resume=lambda: pytest.fail("asked"))
    assert flow.ran() == [*TO_THE_SECOND_GATE, "reject-compiled", "onExit"]


def test_monitoring_is_one_step_and_knows_where_the_log_is(run, calls):
    flow = run(monitor_template(), words={"monitor": "retrain"}, arguments={"served": "s3://bucket/served"})
    assert (flow.phase, flow.ran()) == ("Succeeded", ["monitor"])
    assert after(calls("monitor")[0], "--served") == ["s3://bucket/served"]


AWKWARD = 'it\'s "quoted", {{workflow.name}} {{inputs.parameters.dataset}} }} \\ \n\t\a\x7f é \u200b \U0001f600 ${HOME} `id` %s'


def test_a_configuration_reaches_each_step_as_it_was_whatever_is_in_it(run, calls):
    config = RunConfig.model_validate({"ingest": {"source": AWKWARD}})
    run(arguments={"config": config_text(config)})
    for step in ("ingest", "tune", "train", "gate-trained", "compile", "deploy", "report"):
        (call,) = calls(step)
        assert parse_config(after(call, "--config-text")[0], (), origin="text") == config


def test_a_configuration_that_is_written_any_other_way_is_changed_or_refused_on_its_way(run, calls):
    run(arguments={"config": '{"ingest": {"source": "{{workflow.name}}"}}'})
    assert json.loads(after(calls("ingest")[0], "--config-text")[0]) == {"ingest": {"source": "run-1"}}
    with pytest.raises(TemplateError, match="invalid JSON"):
        run(arguments={"config": "ingest: {source: \x07}"})


def test_the_pods_of_training_get_what_the_parameters_say(run):
    placed = {"gpus": "2", "gpu_resource": "nvidia.com/gpu", "node_selector": '{"sightline.dev/pool": "gpu"}', "tolerations": "[]"}
    flow = run(arguments={**placed, "affinity": "{}"})
    (attempt,) = flow.nodes["train"].attempts
    amount = {"nvidia.com/gpu": "2"}
    assert attempt.patch == {
        "terminationGracePeriodSeconds": 110,
        "nodeSelector": {"sightline.dev/pool": "gpu"},
        "tolerations": [],
        "affinity": {"nodeAffinity": {}},
        "containers": [{"name": "main", "resources": {"requests": amount, "limits": amount}}],
    }
    assert attempt.environment["SIGHTLINE_NUM_GPUS"] == "2"
    assert attempt.environment["SIGHTLINE_POOL"] == "gpu"
    other = flow.nodes["ingest"].attempts[0].environment
    assert (other["SIGHTLINE_NUM_GPUS"], other["SIGHTLINE_POOL"]) == ("0", "cpu")
    assert run().nodes["train"].attempts[0].environment["SIGHTLINE_POOL"] == "cpu", "without GPUs it belongs to the other pool"


def test_the_interpreter_refuses_what_it_does_not_know():
    with pytest.raises(TemplateError, match="not part of the subset"):
        evaluate("sprig.int('1') > 0", {})
    with pytest.raises(TemplateError, match="not an expression"):
        evaluate(" == 'pass'", {})
    with pytest.raises(TemplateError, match="failed to resolve"):
        replaced("{{tasks.nobody.outputs.parameters.artifact}}", {}, strict=True)
