"""A deployment that needs an approval waits for it, verifies again, and ends with one decision."""

import time
from pathlib import Path

import pytest

from sightline.cli.approve import approve, describe
from sightline.config.deploy import DeployConfig
from sightline.deploy import approval, step
from sightline.deploy.record import Deployment
from sightline.errors import DataError, TemporaryError, UsageError
from sightline.evaluate.verdict import read_verified
from sightline.models.bundle import ModelBundle
from sightline.registry import approvals
from sightline.registry.ledger import Ledger
from sightline.store.outcomes import read_outcomes
from sightline.store.records import read_records
from sightline.store.steps import Step, StepOutput, StepResult, run_step
from tests.unit.deploy.tiny_world import World, make_world

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
CONFIG = DeployConfig(
    approval="required", min_requests=40, max_error_share=0.1, latency_slo_ms=1000.0, request_timeout_s=10.0, num_sentinels=6
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.store = made.store.model_copy(update={"tracking": "bad://nowhere"})
    return made


def deploy(world: World, candidate: ModelBundle, verdict: Path, **changes: object) -> StepOutput:
    return step.run(
        model=str(candidate.artifact.folder),
        verdict=str(verdict),
        dataset=str(world.dataset),
        config=CONFIG.model_copy(update=changes),
        store=world.store,
        run_id="run-1",
        output=str(world.root / "out"),
    )


def test_an_approved_candidate_is_deployed_while_the_run_says_what_it_waits_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = world.bundle("candidate")
    verdict = world.verdict(candidate)
    said: list[str] = []

    def meanwhile(_: float) -> None:
        said.extend(record.progress for record in read_records(f"{world.store.runs}/run-1/steps"))
        approvals.approve(world.store.registry, read_verified(verdict), who="Ada", why="checked 50 parts")

    monkeypatch.setattr(approval.approved, "__kwdefaults__", {"sleep": meanwhile})
    assert deploy(world, candidate, verdict).result.outcome == "promoted"
    (line,) = said
    assert line.startswith(f"waiting for an approval of model {candidate.digest[:12]} for another ")
    assert line.endswith("sightline approve --run run-1 --who NAME --why REASON")


def test_without_an_approval_in_time_the_candidate_is_rejected_and_nothing_was_started(world: World) -> None:
    champion, candidate = world.champion(), world.bundle("candidate")
    other = world.bundle("other", scale=19.0)
    approvals.approve(world.store.registry, read_verified(world.verdict(other)), who="Ada", why="checked 50 parts")  # counts for nothing
    output = deploy(world, candidate, world.verdict(candidate), approval_timeout_s=0.2)
    found = Deployment.model_validate_json(output.artifact.file("deployment.json").read_bytes())
    assert output.result.outcome == found.outcome == "rejected"
    assert output.result.headline.startswith("REJECTED · nobody approved the verdict on model ")
    assert (found.arms, found.generation, found.incumbent) == ({}, 1, champion.digest)
    assert [outcome.kind for outcome in read_outcomes(world.store, "run-1")] == ["rejected"]
    assert not list((Path(world.store.runs) / "run-1/deploy").glob("*.log"))
    assert "Rejected" in output.artifact.file("report.html").read_text()


def test_an_approval_does_not_help_a_verdict_that_another_promotion_has_overtaken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = world.bundle("candidate")
    verdict = world.verdict(candidate)

    def meanwhile(_: float) -> None:
        approvals.approve(world.store.registry, read_verified(verdict), who="Ada", why="checked 50 parts")
        world.champion()

    monkeypatch.setattr(approval.approved, "__kwdefaults__", {"sleep": meanwhile})
    with pytest.raises(TemporaryError, match="generation 1 is in production now"):
        deploy(world, candidate, verdict)


def test_a_verdict_that_is_altered_while_the_run_waits_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = world.bundle("candidate")
    verdict = world.verdict(candidate)

    def meanwhile(_: float) -> None:
        approvals.approve(world.store.registry, read_verified(verdict), who="Ada", why="checked 50 parts")
        path = verdict / "verdict.json"
        path.write_text(path.read_text().replace("because", "why not"))

    monkeypatch.setattr(approval.approved, "__kwdefaults__", {"sleep": meanwhile})
    with pytest.raises(DataError, match="altered"):
        deploy(world, candidate, verdict)
    assert Ledger(world.store.registry).champion() is None


def test_the_command_finds_the_verdict_of_a_run(world: World) -> None:
    candidate = world.bundle("candidate")
    verdict = world.verdict(candidate)

    def work(folder: Path, _: object) -> StepResult:
        (folder / "verdict.json").write_bytes((verdict / "verdict.json").read_bytes())
        return StepResult(headline="pass")

    gate = Step(name="gate-compiled", kind="verdict", module="sightline.deploy.verify", inputs={}, config={})
    run_step(gate, store=world.store, run_id="run-1", output=world.root / "gate", work=work)
    with pytest.raises(UsageError, match="has no verdict on a compiled model"):
        approve("", run_id="run-2", runs=world.store.runs, registry=world.store.registry, who="Ada", why="checked 50 parts")
    with pytest.raises(UsageError, match="either a verdict or --run"):
        approve(str(verdict), run_id="run-1", runs=world.store.runs, registry=world.store.registry, who="Ada", why="checked 50 parts")
    started = time.time()
    made = approve("", run_id="run-1", runs=world.store.runs, registry=world.store.registry, who="Ada", why="checked 50 parts")
    assert (made["candidate"], made["who"], made["made_at"] >= started) == (candidate.digest, "Ada", True)
    assert describe(made).startswith("  approved by Ada on ")
    assert approvals.approval_of(world.store.registry, read_verified(verdict)) is not None
    assert approve(str(verdict), run_id="", runs="", registry=world.store.registry, who="Bob", why="also fine") == made
