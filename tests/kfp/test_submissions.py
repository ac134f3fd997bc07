"""One run per key, whoever asks, however often, and whoever dies in between."""

import threading

import pytest

from pipelines import client
from pipelines.submissions import Claim, once
from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.errors import EnvironmentFault, TemporaryError, UsageError
from sightline.store.objects import LocalStore


class Runs:
    """Runs by name, as a server has them."""

    def __init__(self):
        self.made = []

    def create(self):
        self.made.append(f"run-{len(self.made) + 1}")
        return self.made[-1]

    def find(self):
        return self.made[0] if self.made else ""


def claim(key="k1", **values):
    return Claim.of(key, pipeline="retrain", run_name=f"retrain-{key}", values=values)


@pytest.fixture
def registry(tmp_path):
    return LocalStore(tmp_path / "registry")


def ask(registry, runs, wanted, wait_s=0.0):
    return once(registry, wanted, find=runs.find, create=runs.create, wait_s=wait_s)


def test_the_second_request_with_a_key_gets_the_run_of_the_first(registry):
    runs = Runs()
    assert ask(registry, runs, claim()) == ("run-1", False)
    assert ask(registry, runs, claim()) == ("run-1", True)
    assert runs.made == ["run-1"]


def test_a_process_that_died_after_creating_the_run_is_recovered_by_the_runs_name(registry):
    runs = Runs()

    def create_and_die():
        runs.create()
        raise SystemExit(137)

    with pytest.raises(SystemExit):
        once(registry, claim(), find=runs.find, create=create_and_die, wait_s=0.0)
    assert ask(registry, runs, claim()) == ("run-1", True)
    assert runs.made == ["run-1"]


def test_a_process_that_died_before_creating_the_run_is_replaced(registry):
    runs = Runs()

    def die():
        raise SystemExit(137)

    with pytest.raises(SystemExit):
        once(registry, claim(), find=runs.find, create=die, wait_s=0.0)
    assert ask(registry, runs, claim()) == ("run-1", False)


def test_eight_processes_with_one_key_make_one_run(registry):
    runs, answers, barrier = Runs(), [], threading.Barrier(8)

    def one():
        barrier.wait()
        answers.append(ask(registry, runs, claim(), wait_s=10.0)[0])

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs.made == ["run-1"]
    assert set(answers) == {"run-1"}


def test_control_without_the_claim_eight_processes_make_eight_runs():
    runs = Runs()
    for _ in range(8):
        runs.create()
    assert len(runs.made) == 8


def test_a_key_that_stands_for_another_question_is_refused(registry):
    ask(registry, Runs(), claim(epochs=5))
    with pytest.raises(UsageError, match="another submission"):
        ask(registry, Runs(), claim(epochs=6))


@pytest.mark.parametrize("key", ["", "a/b", "..", ".hidden", "x" * 101, "with space"])
def test_a_key_that_cannot_be_a_name_is_refused(key):
    with pytest.raises(UsageError, match="--key"):
        claim(key)


def test_a_pipeline_is_uploaded_once_per_content(server, double):
    first, second = client.upload(server, "monitor"), client.upload(server, "monitor")
    assert first == second
    assert sum(path.endswith("upload_version") for _, path in double.requests) == 1
    assert first.name.startswith("c-")


def test_a_configuration_with_folders_of_this_machine_is_refused_with_every_one_of_them(server):
    config = RunConfig(store=StoreConfig(cache="runs/store", registry="s3://b/registry", runs="runs"))
    with pytest.raises(UsageError, match="relative folders") as raised:
        client.submit("retrain", config, server=server)
    assert "store.cache: runs/store" in str(raised.value)
    assert "store.runs: runs" in str(raised.value)
    assert "store.registry" not in str(raised.value)


def test_a_server_that_is_not_there_says_so_in_seconds(monkeypatch):
    with pytest.raises(TemporaryError, match="no Kubeflow Pipelines server answers") as raised:
        client.connect("http://127.0.0.1:9")
    assert raised.value.exit_code == 75
    monkeypatch.delenv("SIGHTLINE_KFP_HOST", raising=False)
    with pytest.raises(UsageError, match="no Kubeflow Pipelines server is named"):
        client.connect()


@pytest.mark.parametrize(("status", "error"), [(503, TemporaryError), (403, EnvironmentFault), (404, UsageError), (400, UsageError)])
def test_what_the_server_refuses_becomes_an_error_with_its_message(server, double, status, error):
    double.faults = [status]
    with pytest.raises(error, match=r"cannot list runs: a fault of the test"), client.calling("list runs"):
        server.client.list_runs()


def test_the_double_refuses_what_the_real_server_does_not_know(server, double):
    import httpx

    refused = [
        httpx.post(f"{double.host}/apis/v2beta1/runs", json={"display_name": "x", "surprise": 1}),
        httpx.get(f"{double.host}/apis/v2beta1/runs?page=2"),
        httpx.get(f"{double.host}/apis/v1beta1/runs"),
    ]
    assert [answer.status_code for answer in refused] == [400, 400, 404]
    version = client.upload(server, "monitor")
    home = client.experiment(server)
    for wrong in ({"surprise": "x"}, {"on_drift": "explode"}, {"store": "text"}):
        with pytest.raises(UsageError, match=next(iter(wrong))), client.calling("create run"):
            server.client.run_pipeline(home, "x", params=wrong, pipeline_id=version.pipeline_id, version_id=version.version_id)
