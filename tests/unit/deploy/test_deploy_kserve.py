"""The step against a KServe that is played on loopback: real servers as pods, a real gateway, a real registry on S3."""

import contextlib
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.cluster.api import INFERENCE_SERVICE
from sightline.config.deploy import DeployConfig
from sightline.deploy import step
from sightline.deploy.record import Deployment
from sightline.errors import DataError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger
from sightline.store.objects import open_store
from sightline.store.outcomes import read_outcomes
from sightline.store.steps import StepOutput
from tests.fake_kubernetes import FakeKubernetes
from tests.unit.deploy.fake_kserve import NAMESPACE, FakeKServe, wait_for
from tests.unit.deploy.tiny_world import World, make_world

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="pods are addresses of the loopback network"),
]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    with FakeKubernetes(tmp_path) as kubernetes:
        monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))
        yield kubernetes


@pytest.fixture
def kserve(cluster: FakeKubernetes, bucket: str, tmp_path: Path) -> Iterator[FakeKServe]:
    folder = tmp_path / "pods"
    folder.mkdir()
    with FakeKServe(cluster, folder) as controller:
        yield controller


@pytest.fixture
def world(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # downloaded champions are kept there
    made = make_world(tmp_path)
    place = f"{bucket}/{uuid.uuid4().hex}"
    made.store = made.store.model_copy(update={"registry": f"{place}/registry", "runs": f"{place}/runs", "tracking": "bad://nowhere"})
    return made


def config(kserve: FakeKServe, **changes: object) -> DeployConfig:
    """Generous limits: the machine may be busy, and what is tested is the decision, not the speed."""
    return DeployConfig(
        target="kserve",
        replay=True,
        gateway=f"http://127.0.0.1:{kserve.gateway_port}",
        pod_port=kserve.pod_port,
        metrics_port=kserve.metrics_port,
        min_requests=40,
        max_error_share=0.1,
        latency_slo_ms=1000.0,
        num_sentinels=6,
        deadline_s=30.0,
        ready_timeout_s=30.0,
    ).model_copy(update=changes)


def deploy(world: World, bundle: ModelBundle, settings: DeployConfig, *, run_id: str = "run-1") -> StepOutput:
    return step.run(
        model=str(bundle.artifact.folder),
        verdict=str(world.verdict(bundle)),
        dataset=str(world.dataset),
        config=settings,
        store=world.store,
        run_id=run_id,
        output=str(world.root / "out" / uuid.uuid4().hex),
    )


def deployment(output: StepOutput) -> Deployment:
    return Deployment.model_validate_json(output.artifact.file("deployment.json").read_bytes())


def name_of(bundle: ModelBundle) -> str:
    return f"m-{bundle.digest[:12]}"


def spec(cluster: FakeKubernetes) -> dict[str, Any]:
    (service,) = cluster.objects(INFERENCE_SERVICE)
    return service["spec"]


def champion_of(world: World) -> str:
    champion = Ledger(world.store.registry).champion()
    return champion.digest if champion else "none"


def test_a_healthy_canary_takes_over_without_a_restart(world: World, cluster: FakeKubernetes, kserve: FakeKServe) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    found = deployment(output := deploy(world, candidate, config(kserve)))
    assert output.result.outcome == "promoted"
    assert found.arms["canary"].requests >= 40
    assert found.arms["incumbent"].requests > 0
    assert (found.client_errors, found.fallbacks, found.sentinels >= 6) == (0, 0, True)
    assert [moment.state for moment in found.timeline][:2] == ["sentinels", "canary"]
    assert (spec(cluster)["predictor"]["name"], "canary" in spec(cluster)) == (name_of(candidate), False)
    assert spec(cluster)["predictor"]["model"]["storageUri"] == f"{world.store.registry}/models/{candidate.digest}"
    wait_for(lambda: list(kserve.pids()) == [name_of(candidate)])
    assert kserve.started == [name_of(champion), name_of(candidate)]  # each once: promotion restarted nothing
    assert champion_of(world) == candidate.digest
    assert [outcome.kind for outcome in read_outcomes(world.store, "run-1")] == ["promoted"]
    assert json.loads(open_store(world.store.runs).read("run-1/deploy/state.json"))["state"] == "promoted"


def test_a_canary_that_fails_requests_is_rolled_back_and_the_incumbent_is_not_touched(
    world: World, cluster: FakeKubernetes, kserve: FakeKServe
) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    kserve.extra[candidate.digest] = ["--fault", "errors"]
    found = deployment(deploy(world, candidate, config(kserve)))
    assert found.outcome == "rolled-back"
    assert found.reason.startswith("errors ")
    assert found.client_errors == found.arms["canary"].errors > 0
    assert (spec(cluster)["predictor"]["name"], "canary" in spec(cluster)) == (name_of(champion), False)
    wait_for(lambda: list(kserve.pids()) == [name_of(champion)])
    assert kserve.started == [name_of(champion), name_of(candidate)]
    assert champion_of(world) == champion.digest


def test_a_canary_whose_requests_cannot_be_seen_is_rolled_back_at_the_deadline(
    world: World, cluster: FakeKubernetes, kserve: FakeKServe
) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    kserve.without_metrics.add(candidate.digest)
    found = deployment(deploy(world, candidate, config(kserve, deadline_s=6.0)))
    assert found.outcome == "rolled-back"
    assert found.reason.startswith("undecided after 6 s: ")
    assert "no observations can be read" in found.reason
    assert kserve.answered[name_of(candidate)] > 40  # it had clients; nobody saw what came of them
    assert spec(cluster)["predictor"]["name"] == name_of(champion)


def test_a_canary_that_answers_otherwise_than_the_gated_model_never_gets_a_client(
    world: World, cluster: FakeKubernetes, kserve: FakeKServe
) -> None:
    world.champion()
    candidate = world.bundle("candidate")
    found = deployment(deploy(world, candidate, config(kserve, fault="preprocessing")))
    assert found.outcome == "rolled-back"
    assert found.reason.startswith("the served model does not answer as the gated one")
    assert name_of(candidate) not in kserve.answered
    assert "canary" not in spec(cluster)


def test_a_first_deployment_makes_the_service_and_takes_it_away_when_it_fails(
    world: World, cluster: FakeKubernetes, kserve: FakeKServe
) -> None:
    bad = world.bundle("bad", scale=float("nan"))
    found = deployment(deploy(world, bad, config(kserve)))
    assert found.outcome == "rolled-back"
    assert "CrashLoopBackOff" in found.reason
    assert "does not answer a black image" in found.reason
    assert cluster.objects(INFERENCE_SERVICE) == []
    good = world.bundle("good")
    assert deploy(world, good, config(kserve), run_id="run-2").result.outcome == "promoted"
    assert spec(cluster)["predictor"]["name"] == name_of(good)
    assert champion_of(world) == good.digest


MORTAL = """
import os, sys
import boto3, kubernetes.client, pyarrow.parquet
from sightline.config.deploy import DeployConfig
from sightline.config.store import StoreConfig
from sightline.deploy import record, step
from sightline.deploy.targets import kserve

model, verdict, dataset, config, store, output = sys.argv[1:]
enter, promote = record.Journal.enter, kserve.ClusterArms.promote

def deploy(point):
    def enter_and_die(self, state, reason=""):
        enter(self, state, reason)
        if state == point:
            os.kill(os.getpid(), 9)

    def die(self):
        if point == "ledger":
            os.kill(os.getpid(), 9)
        promote(self)

    record.Journal.enter, kserve.ClusterArms.promote = enter_and_die, die
    step.run(model=model, verdict=verdict, dataset=dataset, config=DeployConfig.model_validate_json(config),
             store=StoreConfig.model_validate_json(store), run_id="run-1", output=output + "-" + point)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        deploy(line.strip())
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextlib.contextmanager
def mortal(world: World, bundle: ModelBundle, settings: DeployConfig) -> Iterator[Callable[[str], None]]:
    """Runs the step in a process that is killed right after it has noted that it enters a state, or between ledger and service.

    The processes are forks of one that has imported everything.
    """
    arguments = [str(bundle.artifact.folder), str(world.verdict(bundle)), str(world.dataset), settings.model_dump_json()]
    arguments += [world.store.model_dump_json(), str(world.root / "out" / uuid.uuid4().hex)]
    process = subprocess.Popen([sys.executable, "-c", MORTAL, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def deploy_and_die(point: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{point}\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"{-signal.SIGKILL}\n"

    try:
        yield deploy_and_die
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def test_a_deployment_that_is_killed_in_any_state_is_continued_by_the_next_run(
    world: World, cluster: FakeKubernetes, kserve: FakeKServe
) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    with mortal(world, candidate, config(kserve)) as deploy_and_die:
        deploy_and_die("starting")
        assert cluster.objects(INFERENCE_SERVICE) == []
        for point in ("sentinels", "canary", "promoting"):
            deploy_and_die(point)
            assert champion_of(world) == champion.digest
            assert spec(cluster)["predictor"]["name"] == name_of(champion)
        deploy_and_die("ledger")
    assert champion_of(world) == candidate.digest
    assert spec(cluster)["predictor"]["name"] == name_of(champion)  # the ledger has decided, the service does not know it yet
    output = deploy(world, candidate, config(kserve))
    assert output.result.headline.startswith("PROMOTED generation 2 · this model is already in production")
    assert (spec(cluster)["predictor"]["name"], "canary" in spec(cluster)) == (name_of(candidate), False)
    assert kserve.started == [name_of(champion), name_of(candidate)]
    assert [outcome.kind for outcome in read_outcomes(world.store, "run-1")] == ["promoted"]


def test_a_rollback_that_was_killed_is_finished_and_gives_no_second_chance(
    world: World, cluster: FakeKubernetes, kserve: FakeKServe
) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    kserve.extra[candidate.digest] = ["--fault", "errors"]
    with mortal(world, candidate, config(kserve)) as deploy_and_die:
        deploy_and_die("rolling-back")
    assert spec(cluster)["canary"][0]["trafficPercent"] == 50
    kserve.extra.clear()  # it would be healthy now
    found = deployment(deploy(world, candidate, config(kserve)))
    assert found.outcome == "rolled-back"
    assert found.reason.startswith("errors ")
    assert (spec(cluster)["predictor"]["name"], "canary" in spec(cluster)) == (name_of(champion), False)
    assert [outcome.kind for outcome in read_outcomes(world.store, "run-1")] == ["rolled-back"]


def test_a_service_that_the_registry_knows_nothing_of_is_not_taken_over(world: World, cluster: FakeKubernetes, kserve: FakeKServe) -> None:
    body = {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": "InferenceService",
        "metadata": {"name": "sightline", "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
        "spec": {"predictor": {"name": "theirs"}},
    }
    cluster.controllers.clear()
    kserve.stop_reconciling()
    cluster.create(INFERENCE_SERVICE, NAMESPACE, body)
    with pytest.raises(DataError, match="serves 'theirs', which the registry knows nothing of"):
        deploy(world, world.bundle("candidate"), config(kserve))
    assert spec(cluster) == body["spec"]


def test_a_registry_in_a_folder_cannot_be_read_by_pods(world: World, kserve: FakeKServe) -> None:
    world.store = world.store.model_copy(update={"registry": str(world.root / "registry")})
    with pytest.raises(UsageError, match="its pods cannot read the registry"):
        deploy(world, world.bundle("candidate"), config(kserve))
