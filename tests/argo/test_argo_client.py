"""The client and its command against a server that speaks HTTP."""

import json
import subprocess
import sys
import threading

import pytest
import yaml

from pipelines.argo import __main__ as command
from pipelines.argo import runs
from pipelines.argo.apply import apply, read, remove
from pipelines.argo.arguments import config_text, run_name
from pipelines.argo.compiled import documents
from pipelines.argo.server import connect
from sightline.config.run import RunConfig
from sightline.errors import EnvironmentFault, TemporaryError, UsageError
from tests.argo.argo_server import ArgoServer


@pytest.fixture
def double(monkeypatch):
    server = ArgoServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("SIGHTLINE_ARGO_HOST", server.url)
    monkeypatch.delenv("ARGO_TOKEN", raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(double):
    with connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def everything():
    return [one for group in documents().values() for one in group]


@pytest.fixture
def applied(server, everything):
    apply(server, everything)
    return server


@pytest.fixture
def argo(capsys):
    def call(*arguments):
        code = command.main(arguments)
        return code, capsys.readouterr()

    return call


def test_everything_is_created_once_and_then_left_alone(server, everything, double):
    assert set(apply(server, everything).values()) == {"created"}
    double.requests.clear()
    assert set(apply(server, everything).values()) == {"unchanged"}
    assert all(request.startswith("GET") for request in double.requests)


def test_what_differs_is_changed_and_what_others_wrote_stays(applied, everything, double):
    cron = double.objects["cron-workflows", "weekly-retrain"]
    cron["spec"]["suspend"] = True
    cron["status"] = {"lastScheduledTime": "2026-11-01T02:00:00Z"}
    cron["metadata"]["labels"]["team"] = "vision"
    cron["spec"]["schedules"] = ["0 5 * * *"]
    changes = apply(applied, everything)
    assert [name for name, change in changes.items() if change == "updated"] == ["CronWorkflow/weekly-retrain"]
    now = double.objects["cron-workflows", "weekly-retrain"]
    assert now["spec"]["schedules"] == ["0 3 * * 1"]
    assert now["spec"]["suspend"] is True, "a person suspended it; that is not for us to change"
    assert now["status"] == {"lastScheduledTime": "2026-11-01T02:00:00Z"}
    assert now["metadata"]["labels"]["team"] == "vision"


def test_an_object_that_somebody_else_changes_at_the_same_moment_is_not_overwritten(applied, everything, double):
    there = double.objects["workflow-templates", "sightline-monitor"]
    there["spec"]["entrypoint"] = "other"
    double.interfere = lambda _: double.put("workflow-templates", {**there, "spec": {"entrypoint": "theirs"}})
    with pytest.raises(TemporaryError, match="has been modified"):
        apply(applied, everything)
    assert double.objects["workflow-templates", "sightline-monitor"]["spec"] == {"entrypoint": "theirs"}


def test_an_object_is_removed_and_then_is_not_there(applied):
    remove(applied, "CronWorkflow", "weekly-retrain")
    assert read(applied, "CronWorkflow", "weekly-retrain") is None
    with pytest.raises(UsageError, match="there is no CronWorkflow weekly-retrain"):
        remove(applied, "CronWorkflow", "weekly-retrain")


def test_a_key_starts_one_run_however_often_it_is_used(applied, double):
    first = runs.submit(applied, "retrain", key="drift-1")
    second = runs.submit(applied, "retrain", key="drift-1")
    assert (first.created, second.created) == (True, False)
    assert first.run.name == second.run.name == run_name("retrain", "drift-1")
    body = double.objects["workflows", first.run.name]
    assert body["spec"]["workflowTemplateRef"] == {"name": "sightline-retrain"}
    assert body["metadata"]["annotations"] == {"sightline.dev/key": "drift-1"}


def test_of_eight_that_use_a_key_at_once_one_starts_the_run(applied):
    made, barrier = [], threading.Barrier(8)

    def start():
        with connect() as mine:
            barrier.wait()
            made.append(runs.submit(mine, "retrain", key="once").created)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]


def test_a_key_that_is_used_for_something_else_is_refused(applied):
    runs.submit(applied, "retrain", key="k", parameters={"gpus": "1"})
    with pytest.raises(UsageError, match=r"already names the run .* other values of gpus"):
        runs.submit(applied, "retrain", key="k", parameters={"gpus": "2"})


def test_without_a_key_each_call_is_a_run_with_the_given_configuration(applied, double):
    config = RunConfig.model_validate({"train": {"epochs": 3}})
    run = runs.submit(applied, "retrain", config=config, parameters={"approval": "required"}).run
    given = {one["name"]: one["value"] for one in double.objects["workflows", run.name]["spec"]["arguments"]["parameters"]}
    assert given == {"config": config_text(config), "approval": "required"}


@pytest.mark.parametrize(
    ("values", "message"),
    [({"gpu": "1"}, "no parameter 'gpu', did you mean gpus"), ({"approval": "yes"}, "approval=yes: expected none or required")],
)
def test_a_parameter_that_argo_would_ignore_is_refused(applied, values, message):
    with pytest.raises(UsageError, match=message):
        runs.submit(applied, "retrain", parameters=values)


def test_a_run_of_a_template_that_was_not_applied_says_so(server):
    with pytest.raises(UsageError, match="no template for retrain; apply it first"):
        runs.submit(server, "retrain", key="k")


def test_runs_are_listed_newest_first_and_by_pipeline(applied, double):
    for pipeline in ("retrain", "monitor", "retrain"):
        name = runs.submit(applied, pipeline, key=f"{pipeline}-{len(double.objects)}").run.name
        double.version += 1
    double.phase(name, "Running")
    listed = runs.list_runs(applied)
    assert [run.pipeline for run in listed] == ["retrain", "monitor", "retrain"]
    assert (listed[0].name, listed[0].phase, listed[0].progress) == (name, "Running", "1/8")
    assert listed[1].phase == "Pending"
    assert len(runs.list_runs(applied, pipeline="monitor")) == 1
    assert len(runs.list_runs(applied, limit=2)) == 2


def test_nothing_is_listed_where_there_is_nothing(server):
    assert runs.list_runs(server) == []


def test_a_run_is_stopped_retried_and_approved(applied, double):
    name = runs.submit(applied, "retrain", key="k").run.name
    double.phase(name, "Running")
    with pytest.raises(UsageError, match="workflow must be Failed/Error to retry"):
        runs.retry(applied, name)
    assert runs.stop(applied, name, why="wrong data").message == "wrong data"
    double.phase(name, "Failed")
    assert runs.retry(applied, name).phase == "Running"
    assert runs.approve(applied, name).message == "displayName=approve"
    assert double.requests[-3:] == [f"PUT /api/v1/workflows/sightline/{name}/{verb}" for verb in ("stop", "retry", "resume")]


def test_the_logs_come_line_by_line_with_their_pod(applied, double):
    name = runs.submit(applied, "retrain", key="k").run.name
    double.lines[name] = [{"result": {"podName": f"{name}-{step}-1", "content": f"{step} é {{}}"}} for step in ("ingest", "train")]
    assert list(runs.logs(applied, name)) == [(f"{name}-ingest-1", "ingest é {}"), (f"{name}-train-1", "train é {}")]
    assert list(runs.logs(applied, name, step="train")) == [(f"{name}-train-1", "train é {}")]
    double.lines[name].append({"error": {"message": "pod is gone"}})
    with pytest.raises(UsageError, match="pod is gone"):
        list(runs.logs(applied, name))


@pytest.mark.parametrize("call", [runs.get, runs.stop, runs.retry, runs.approve, lambda server, name: list(runs.logs(server, name))])
def test_a_run_that_does_not_exist_is_named(server, call):
    with pytest.raises(UsageError, match="there is no run nothing"):
        call(server, "nothing")


@pytest.mark.parametrize("given", ["secret", "Bearer secret"])
def test_the_token_of_the_environment_is_sent_with_or_without_its_first_word(double, monkeypatch, given):
    double.token = "Bearer secret"  # noqa: S105 - of the double
    with connect() as server, pytest.raises(EnvironmentFault, match="ARGO_TOKEN"):
        runs.list_runs(server)
    monkeypatch.setenv("ARGO_TOKEN", given)
    with connect() as server:
        assert runs.list_runs(server) == []


@pytest.mark.parametrize(("status", "fault"), [(403, EnvironmentFault), (429, TemporaryError), (500, TemporaryError), (400, UsageError)])
def test_each_answer_of_a_server_that_will_not_do_it_is_told_apart(server, double, status, fault):
    double.fail_with = [status]
    with pytest.raises(fault, match="as the test wants it"):
        runs.list_runs(server)


def test_a_server_that_does_not_answer_is_temporary():
    with connect("http://127.0.0.1:9") as server, pytest.raises(TemporaryError, match=r"no Argo server answers at http://127\.0\.0\.1:9"):
        runs.list_runs(server)


@pytest.mark.parametrize("host", ["", "localhost:2746"])
def test_an_address_that_is_none_is_a_usage_error(monkeypatch, host):
    monkeypatch.delenv("SIGHTLINE_ARGO_HOST", raising=False)
    with pytest.raises(UsageError, match="address"), connect(host):
        pass


def test_the_command_does_all_of_it(argo, double, tmp_path):
    (tmp_path / "sightline.yaml").write_text("ingest:\n  source: s3://bucket/images\n")
    assert argo("apply", "--config", str(tmp_path / "sightline.yaml"), "--json")[0] == 0
    assert ("sensors", "sightline-drift") not in double.objects, "Argo Events may not be there"
    given = double.objects["workflow-templates", "sightline-retrain"]["spec"]["arguments"]["parameters"][0]["value"]
    assert yaml.safe_load(given)["ingest"] == {"source": "s3://bucket/images"}

    code, said = argo("submit", "retrain", "--key", "k", "--parameter", "gpus=1", "--json")
    name = json.loads(said.out)["run"]["name"]
    assert (code, argo("submit", "retrain", "--key", "k", "--parameter", "gpus=1")[1].out) == (0, f"this key started it before: {name}\n")
    double.phase(name, "Running")
    assert argo("list")[1].out.split()[:2] == [name, "Running"]
    double.lines[name] = [{"result": {"podName": "p", "content": "text"}}]
    assert argo("logs", name)[1].out == "p: text\n"
    assert argo("stop", name)[1].out == f"{name}: Running\n"
    double.phase(name, "Failed")
    assert argo("retry", name)[1].out == f"{name}: Running\n"
    assert argo("approve", name)[1].out == f"{name}: Running\n"
    assert argo("apply", "--events")[0] == 0
    assert ("sensors", "sightline-drift") in double.objects


def test_an_error_of_the_command_is_a_sentence_with_a_remedy_and_an_exit_code(argo, double):
    code, said = argo("stop", "nothing")
    assert (code, said.out) == (2, "")
    assert said.err.startswith("error: there is no run nothing\n  remedy: ")
    assert argo("submit", "retrain", "--parameter", "gpus")[0] == 2
    double.fail_with = [503]
    assert argo("list")[0] == 75


def test_a_configuration_with_folders_of_this_machine_is_refused(argo, tmp_path):
    (tmp_path / "sightline.yaml").write_text("ingest:\n  source: ./images\n")
    code, said = argo("config", str(tmp_path / "sightline.yaml"))
    assert code == 2
    assert "cannot reach" in said.err


def test_the_files_are_written_where_they_are_asked_for(argo, tmp_path):
    assert argo("compile", "--output", str(tmp_path))[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drift.yaml", "monitor.yaml", "retrain.yaml", "schedules.yaml"]


def test_help_needs_neither_argo_nor_kubeflow():
    code = (
        "import sys; sys.argv = ['argo', '--help']\n"
        "from pipelines.argo.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'argo_workflows', 'kfp', 'torch'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "approve" in done.stdout) == (0, True), done.stderr
