"""The whole step with real server processes: small models, real images, a real ledger; MLflow is asked once."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sightline.config.deploy import DeployConfig
from sightline.deploy import step
from sightline.deploy.record import Deployment
from sightline.deploy.targets.local import serve_bundle
from sightline.deploy.traffic import replay
from sightline.errors import DataError, EnvironmentFault, TemporaryError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger
from sightline.serve.server import listen
from sightline.store.outcomes import read_outcomes
from sightline.store.steps import StepOutput
from tests.unit.deploy.tiny_world import World, make_world

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
# Generous limits: the machine may be busy, and what is tested is the decision, not the speed.
CONFIG = DeployConfig(min_requests=40, max_error_share=0.1, latency_slo_ms=1000.0, request_timeout_s=10.0, num_sentinels=6)
NOWHERE = "bad://nowhere"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.store = made.store.model_copy(update={"tracking": NOWHERE})
    return made


def deploy(world: World, bundle: ModelBundle, *, verdict: Path | None = None, run_id: str = "run-1", **changes: object) -> StepOutput:
    return step.run(
        model=str(bundle.artifact.folder),
        verdict=str(verdict or world.verdict(bundle)),
        dataset=str(world.dataset),
        config=CONFIG.model_copy(update=changes),
        store=world.store,
        run_id=run_id,
        output=str(world.root / "out" / run_id),
    )


def deployment(output: StepOutput) -> Deployment:
    return Deployment.model_validate_json(output.artifact.file("deployment.json").read_bytes())


def assert_no_server_is_left() -> None:
    running = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    left = [child for child in running if "sightline.serve" in " ".join(child.cmdline())]
    assert left == []


def test_a_healthy_canary_is_promoted_and_clients_see_no_error(world: World) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    output = deploy(world, candidate)
    found = deployment(output)
    assert output.result.outcome == "promoted"
    assert output.result.headline.startswith("PROMOTED generation 2 · ")
    assert (found.generation, found.incumbent, found.client_errors, found.fallbacks) == (2, champion.digest, 0, 0)
    assert found.arms["canary"].requests >= 40
    assert found.arms["incumbent"].requests > 0
    assert [moment.state for moment in found.timeline][:2] == ["sentinels", "canary"]
    assert found.registered.startswith("not registered: MLflow cannot use")
    now = Ledger(world.store.registry).champion()
    assert now is not None
    assert (now.digest, now.previous, now.run_id) == (candidate.digest, 1, "run-1")
    assert [outcome.kind for outcome in read_outcomes(world.store, "run-1")] == ["promoted"]
    assert json.loads((Path(world.store.runs) / "run-1/deploy/state.json").read_text())["state"] == "promoted"
    html = output.artifact.file("report.html").read_text()
    assert "<svg" in html
    assert "http" not in html
    assert_no_server_is_left()
    assert deploy(world, candidate, run_id="run-2").result.headline.startswith(
        "PROMOTED generation 2 · this model is already in production"
    )


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("errors", "errors "), ("slow", "slow 100.0% vs "), ("preprocessing", "the served model does not answer as the gated one")],
)
def test_a_bad_canary_is_rolled_back_and_no_client_notices(world: World, fault: str, reason: str) -> None:
    champion = world.champion()
    output = deploy(world, world.bundle("candidate"), fault=fault, latency_slo_ms=200.0 if fault == "slow" else 1000.0)
    found = deployment(output)
    assert output.result.outcome == "rolled-back"
    assert output.result.headline.startswith("ROLLED BACK · ")
    assert found.reason.startswith(reason)
    assert found.client_errors == 0
    assert found.fallbacks == found.arms["canary"].errors
    now = Ledger(world.store.registry).champion()
    assert now is not None
    assert (now.generation, now.digest) == (1, champion.digest)
    assert [outcome.kind for outcome in read_outcomes(world.store, "run-1")] == ["rolled-back"]
    assert_no_server_is_left()


def test_a_first_deployment_needs_no_incumbent(world: World) -> None:
    candidate = world.bundle("candidate")
    output = deploy(world, candidate)
    assert output.result.outcome == "promoted"
    assert list(deployment(output).arms) == ["canary"]
    now = Ledger(world.store.registry).champion()
    assert now is not None
    assert now.generation == 1


def test_a_first_deployment_that_fails_leaves_no_champion(world: World) -> None:
    assert deploy(world, world.bundle("candidate"), fault="errors").result.outcome == "rolled-back"
    assert Ledger(world.store.registry).champion() is None


def test_a_canary_that_does_not_start_is_rolled_back(world: World) -> None:
    world.champion()
    candidate = world.bundle("candidate", scale=float("nan"))
    found = deployment(deploy(world, candidate))
    assert found.outcome == "rolled-back"
    assert found.reason.startswith("the canary server ended with code 65")
    assert_no_server_is_left()


def test_a_verdict_that_does_not_allow_this_model_is_refused_with_all_reasons(world: World) -> None:
    candidate = world.bundle("candidate")
    for verdict in (
        world.verdict(candidate, outcome="fail"),
        world.verdict(candidate, outcome="inconclusive"),
        world.verdict(candidate, stage="trained"),
        world.verdict(candidate, candidate="f" * 64),
    ):
        with pytest.raises(DataError, match="does not allow"):
            deploy(world, candidate, verdict=verdict)
    assert Ledger(world.store.registry).champion() is None
    assert read_outcomes(world.store, "run-1") == []


def test_a_verdict_against_another_champion_has_to_be_made_again(world: World) -> None:
    candidate = world.bundle("candidate")
    stale = world.verdict(candidate)
    world.champion()
    with pytest.raises(TemporaryError, match="generation 1 is in production now"):
        deploy(world, candidate, verdict=stale)


def test_an_altered_model_is_refused(world: World) -> None:
    candidate = world.bundle("candidate")
    verdict = world.verdict(candidate)
    (candidate.artifact.folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(DataError, match="altered"):
        deploy(world, candidate, verdict=verdict)


def test_golden_images_that_are_gone_stop_the_deployment_and_the_incumbent_stays(world: World) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    verdict = world.verdict(candidate)
    for path in world.golden:
        path.write_bytes(b"replaced")
    with pytest.raises(DataError, match="no golden image can be read"):
        deploy(world, candidate, verdict=verdict)
    now = Ledger(world.store.registry).champion()
    assert now is not None
    assert now.digest == champion.digest
    assert_no_server_is_left()


def test_a_taken_router_port_is_named_and_nothing_is_left_running(world: World) -> None:
    world.champion()
    with listen("127.0.0.1", 0) as taken, pytest.raises(EnvironmentFault, match=f"port {taken.getsockname()[1]} "):
        deploy(world, world.bundle("candidate"), port=taken.getsockname()[1])
    assert_no_server_is_left()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_deployment_that_is_killed_leaves_no_server_and_the_incumbent_and_can_be_repeated(world: World) -> None:
    champion = world.champion()
    candidate = world.bundle("candidate")
    verdict = world.verdict(candidate)
    endless = CONFIG.model_copy(update={"min_requests": 10**6, "max_requests": 10**7})
    program = (
        "import sys; from sightline.config.deploy import DeployConfig; from sightline.config.store import StoreConfig;"
        "from sightline.deploy import step;"
        "step.run(model=sys.argv[1], verdict=sys.argv[2], dataset=sys.argv[3], config=DeployConfig.model_validate_json(sys.argv[4]),"
        " store=StoreConfig.model_validate_json(sys.argv[5]), run_id='run-1', output=sys.argv[6])"
    )
    arguments = [str(candidate.artifact.folder), str(verdict), str(world.dataset), endless.model_dump_json(), world.store.model_dump_json()]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments, str(world.root / "out-killed")], stderr=subprocess.DEVNULL)
    state = Path(world.store.runs) / "run-1/deploy/state.json"
    wait_for(lambda: state.is_file() and json.loads(state.read_text())["state"] == "canary")
    servers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert len(servers) == 2
    wait_for(lambda: not any(server.is_running() and server.status() != psutil.STATUS_ZOMBIE for server in servers))
    now = Ledger(world.store.registry).champion()
    assert now is not None
    assert now.digest == champion.digest
    assert deploy(world, candidate).result.outcome == "promoted"


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 30 s")


def test_replay_reaches_a_served_bundle_and_fills_its_log(world: World) -> None:
    bundle = world.bundle("candidate")
    with serve_bundle(bundle.artifact.folder, log_dir=world.root / "served") as url:
        report = replay(url, "sightline", world.pictures, num_requests=50, num_clients=3)
        with pytest.raises(UsageError):
            replay(url, "sightline", [])
    assert (report.requests, report.errors, report.statuses) == (50, 0, {200: 50})
    assert report.requests_per_s > 0
    lines = [line for file in (world.root / "served").glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(lines) == 50
    assert {json.loads(line)["model"] for line in lines} == {bundle.digest}
    assert_no_server_is_left()
