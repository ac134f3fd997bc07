import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from pydantic import BaseModel

from sightline.cluster.api import TRAIN_JOB, connect
from sightline.errors import EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.learn import remote
from sightline.learn.failure import describe_failure
from sightline.learn.node import StoredEvents, as_node
from sightline.learn.remote import STAGED, RemoteJob, State, run_remote
from sightline.learn.staging import stage
from sightline.store.objects import open_store
from tests.fake_kubernetes import FakeKubernetes

LABELS = {"job": "j"}


class Work(BaseModel):
    name: str


def place(job):
    return job.staged.uri.rpartition("/")[0]


def read(found):
    phase = found.get("status", {}).get("phase", "starting")
    return State(phase, found.get("status", {}).get("why", ""))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_POLL_S", 0.01)
    with FakeKubernetes(tmp_path) as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
        yield fake


@pytest.fixture
def job(tmp_path):
    staged = stage(Work(name="x"), (), str(tmp_path / "jobs/k"))
    metadata = {"name": "train-k", "labels": LABELS, "annotations": {STAGED: staged.sha256}}
    return RemoteJob(
        name="training",
        kind=TRAIN_JOB,
        body={"apiVersion": TRAIN_JOB.api_version, "kind": "TrainJob", "metadata": metadata, "spec": {}},
        staged=staged,
        state=read,
        selector="job=j",
        container="node",
        timeout_s=60,
        timeout_key="train.timeout_s",
        num_restarts=2,
    )


def play(server, job, *attempts):
    """Each creation of the job calls the next of ``attempts`` in a thread of its own; a deletion takes the pods."""
    waiting = list(attempts)

    def control(change, thing):
        if change == "created":
            threading.Thread(target=waiting.pop(0), daemon=True).start()
        elif change == "deleted":
            server.remove_pod("p")

    server.controllers[TRAIN_JOB] = control
    return waiting


def reports(server, job, phase, **more):
    server.set_status(TRAIN_JOB, job.object_name, {"phase": phase, **more})


def fail(server, job, *, pod=None, log="", error=None, why=""):
    if pod is not None:
        server.put_pod("p", LABELS, containers=("node",), status={"phase": "Failed", **pod})
        server.write_log("p", log, container="node")
    if error is not None:
        job.store.write("errors/rank-0.json", json.dumps(describe_failure(error)).encode())
    reports(server, job, "failed", why=why)


def ended_with(code, reason="Error"):
    return {"containerStatuses": [{"name": "node", "state": {"terminated": {"exitCode": code, "reason": reason}}}]}


def run(job, on_event=lambda _event: None, progress=lambda _text: None):
    run_remote(job, connect("sightline"), on_event, progress)


def test_events_arrive_once_and_in_order_and_the_object_is_gone_at_the_end(server, job):
    def work():
        emit = StoredEvents(place(job))
        for number in range(5):
            emit({"n": number})
            time.sleep(0.01)
        reports(server, job, "done")

    play(server, job, work)
    events, texts = [], []
    run(job, events.append, texts.append)
    assert events == [{"n": number} for number in range(5)]
    assert texts == ["waiting for machines"]
    assert server.objects(TRAIN_JOB) == []


def test_the_processes_own_error_comes_back_with_its_kind_and_is_not_tried_again(server, job):
    left = play(server, job, lambda: fail(server, job, pod=ended_with(1), error=UsageError("the loss became nan", remedy="lower it")), fail)
    with pytest.raises(UsageError, match="the loss became nan\n  remedy: lower it"):
        run(job)
    assert left == [fail]
    assert server.objects(TRAIN_JOB) == []


def test_an_unknown_failure_comes_back_with_the_end_of_the_containers_log(server, job):
    play(server, job, lambda: fail(server, job, pod=ended_with(1), log="one\ntwo\n", error=RuntimeError("peer lost")))
    with pytest.raises(SightlineError, match=r"training failed: RuntimeError: peer lost; the end of its log:\n\[p\]\none\ntwo"):
        run(job)


def test_what_the_controller_says_is_passed_on_when_nobody_else_knows(server, job):
    play(server, job, lambda: fail(server, job, pod=ended_with(1), why="TrainingRuntimeNotSupported"))
    with pytest.raises(SightlineError, match="TrainingRuntimeNotSupported"):
        run(job)


def test_memory_is_named_as_the_cause(server, job):
    play(server, job, lambda: fail(server, job, pod=ended_with(137, "OOMKilled")))
    with pytest.raises(EnvironmentFault, match=r"killed for its memory(?s:.*)cluster.memory_gib_per_node"):
        run(job)


DISRUPTED = {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}


@pytest.mark.parametrize("pod", [DISRUPTED, {"reason": "Evicted"}, ended_with(137), ended_with(143), None])
def test_a_job_whose_machines_were_taken_away_is_started_again(server, job, pod):
    lost = RuntimeError("connection closed by peer")
    left = play(server, job, lambda: fail(server, job, pod=pod, error=lost), lambda: reports(server, job, "done"))
    texts = []
    run(job, progress=texts.append)
    assert left == []
    assert "the machines of training were taken away; starting again" in texts


def test_a_job_whose_machines_are_taken_away_too_often_is_left_to_the_next_attempt(server, job):
    left = play(server, job, *[lambda: fail(server, job, pod=DISRUPTED)] * 4)
    with pytest.raises(TemporaryError, match="taken away"):
        run(job)
    assert len(left) == 1, "the first start and two restarts"


def test_a_job_that_takes_too_long_is_ended_and_the_time_in_the_queue_does_not_count(server, job):
    def wait_then_work():
        reports(server, job, "waiting")
        time.sleep(0.5)
        reports(server, job, "done")

    play(server, job, wait_then_work)
    run(replace(job, timeout_s=0.3))
    play(server, job, lambda: reports(server, job, "running"))
    with pytest.raises(EnvironmentFault, match=r"ended after 0.3 s(?s:.*)raise train.timeout_s"):
        run(replace(job, timeout_s=0.3))
    assert server.objects(TRAIN_JOB) == []


def test_a_job_that_an_earlier_process_left_is_adopted_with_its_events(server, job, monkeypatch):
    connect("sightline").create(TRAIN_JOB, job.body)
    StoredEvents(place(job))({"n": 1})
    reports(server, job, "running")
    left = play(server, job)
    threading.Timer(0.2, lambda: reports(server, job, "done")).start()
    events = []
    run(job, events.append)
    assert events == [{"n": 1}]
    assert left == []


def test_an_object_of_the_same_name_with_another_job_is_replaced(server, job):
    other = json.loads(json.dumps(job.body))
    other["metadata"]["annotations"][STAGED] = "0" * 64
    connect("sightline").create(TRAIN_JOB, other)
    server.settle()
    left = play(server, job, lambda: reports(server, job, "done"))
    run(job)
    assert left == []


def test_a_busy_api_server_is_waited_for(server, job):
    play(server, job, lambda: reports(server, job, "running"))
    threading.Timer(0.1, lambda: server.faults.extend([503, 429, 500])).start()
    threading.Timer(0.4, lambda: reports(server, job, "done")).start()
    run(job)
    assert server.faults == []


def test_a_job_that_somebody_deleted_is_not_started_again(server, job):
    left = play(server, job, lambda: connect("sightline").delete(TRAIN_JOB, job.object_name))
    with pytest.raises(EnvironmentFault, match="somebody deleted"):
        run(job)
    assert left == []


def test_an_interrupt_deletes_the_job(server, job):
    play(server, job, lambda: StoredEvents(place(job))({"n": 1}))

    def interrupt(_event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, interrupt)
    assert server.objects(TRAIN_JOB) == []


NODE = """
import sys
from pydantic import BaseModel
from sightline.errors import UsageError
from sightline.learn.node import as_node
from sightline.learn.staging import StagedJob
class Work(BaseModel):
    name: str
with as_node(StagedJob(*sys.argv[1:]), Work, "rank-0") as (work, folder, emit):
    emit({"name": work.name})
    raise UsageError("it cannot be", remedy="lower it")
"""


def test_a_nodes_error_is_told_through_the_store_and_is_its_exit_code(job, tmp_path):
    command = [sys.executable, "-c", NODE, job.staged.uri, job.staged.sha256]
    done = subprocess.run(command, env={"TMPDIR": str(tmp_path), "PATH": ""}, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert json.loads(job.store.read("errors/rank-0.json")) == {"kind": "UsageError", "message": "it cannot be", "remedy": "lower it"}
    (event,) = open_store(str(tmp_path / "jobs/k")).list("events/")
    assert json.loads(job.store.read(event)) == {"name": "x"}


def test_a_node_keeps_its_files_in_its_own_scratch(job, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with as_node(job.staged, Work, "rank-0") as (_work, folder, _emit):
        assert folder.parent == tmp_path
