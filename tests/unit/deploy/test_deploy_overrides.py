"""The overrides that a verdict rests on are verified again when the model is deployed."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.config.deploy import DeployConfig
from sightline.deploy import step
from sightline.deploy.verify import verify as check
from sightline.errors import DataError
from sightline.evaluate.verdict import FILE, Check, Override, read_verified, write_verdict
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger
from sightline.registry.overrides import record_override
from sightline.store.artifact import commit_artifact, open_artifact
from sightline.store.digest import sha256_bytes
from sightline.store.objects import open_store
from tests.unit.deploy.tiny_world import World, make_world

DAY_S = 86_400.0
Change = Callable[[Override], Override]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def candidate(world: World) -> ModelBundle:
    return world.bundle("candidate")


def override(bundle: ModelBundle, **changes: object) -> Override:
    now = time.time()
    fields: dict[str, object] = {"candidate": bundle.digest, "golden_digest": "golden-1", "checks": ("overall",), "who": "Ada"}
    fields |= {"why": "the old site is closed", "made_at": now, "until": now + 7 * DAY_S, "verdict": "v" * 64}
    return Override(**fields | changes)


def expired(candidate: ModelBundle) -> Override:
    return override(candidate, made_at=time.time() - 8 * DAY_S, until=time.time() - DAY_S)


def waived_verdict(world: World, candidate: ModelBundle, *overrides: Override) -> Path:
    """A verdict that passes because its only check was waived."""
    base = read_verified(world.verdict(candidate))
    check = Check(name="overall", kind="overall", required=True, outcome="waived", num_images=6)
    target = world.root / "waived"

    def write(folder: Path) -> dict[str, object]:
        write_verdict(folder, base.model_copy(update={"checks": (check,), "overrides": overrides}))
        return {}

    return commit_artifact(target, "verdict", write).folder


def verify(world: World, candidate: ModelBundle, verdict: Path) -> None:
    check(read_verified(verdict), candidate, open_artifact(world.dataset, "dataset"), registry=world.store.registry)


def deploy(world: World, candidate: ModelBundle, verdict: Path) -> None:
    step.run(
        model=str(candidate.artifact.folder),
        verdict=str(verdict),
        dataset=str(world.dataset),
        config=DeployConfig(),
        store=world.store,
        run_id="run-1",
        output=str(world.root / "out"),
    )


def keep(world: World, override: Override) -> None:
    """Puts an override into the registry as it was recorded at its time."""
    data = override.model_dump_json(indent=1).encode()
    open_store(world.store.registry).write(f"overrides/{override.candidate}/{sha256_bytes(data)}.json", data)


def test_a_recorded_override_that_holds_allows_the_deployment(world: World, candidate: ModelBundle) -> None:
    made = record_override(world.store.registry, override(candidate))
    verify(world, candidate, waived_verdict(world, candidate, made))


def test_an_expired_override_is_refused_before_anything_is_started(world: World, candidate: ModelBundle) -> None:
    made = expired(candidate)
    keep(world, made)
    verdict = waived_verdict(world, candidate, made)
    assert read_verified(verdict).outcome == "pass"  # negative control: the verdict alone would let it through
    with pytest.raises(DataError, match="the override of overall by Ada expired on ") as error:
        deploy(world, candidate, verdict)
    assert "sightline gate override" in error.value.remedy
    assert Ledger(world.store.registry).champion() is None
    assert not (Path(world.store.runs) / "run-1/deploy/state.json").exists()


def test_an_override_that_nobody_recorded_is_refused(world: World, candidate: ModelBundle) -> None:
    with pytest.raises(DataError, match="is not in the registry"):
        deploy(world, candidate, waived_verdict(world, candidate, override(candidate)))


@pytest.mark.parametrize("changes", [{"until": time.time() + 30 * DAY_S}, {"why": "another reason than given"}, {"checks": ("size",)}])
def test_an_override_that_says_something_else_in_the_registry_is_refused(
    world: World, candidate: ModelBundle, changes: dict[str, object]
) -> None:
    made = override(candidate)
    record_override(world.store.registry, made.model_copy(update=changes))
    with pytest.raises(DataError, match="is not in the registry"):
        verify(world, candidate, waived_verdict(world, candidate, made))


def test_an_override_that_was_altered_in_the_registry_is_refused(world: World, candidate: ModelBundle) -> None:
    made = record_override(world.store.registry, override(candidate))
    path = next(Path(world.store.registry).glob("overrides/*/*.json"))
    path.write_text(path.read_text().replace("Ada", "Eve"))
    with pytest.raises(DataError, match="altered"):
        verify(world, candidate, waived_verdict(world, candidate, made))


@pytest.mark.parametrize("changes", [{"candidate": "f" * 64}, {"golden_digest": "golden-2"}, {"checks": ("model size",)}])
def test_a_waived_check_without_an_override_for_this_model_and_these_images_is_a_contradiction(
    world: World, candidate: ModelBundle, changes: dict[str, object]
) -> None:
    made = override(candidate, **changes)
    record_override(world.store.registry, made)
    verdict = waived_verdict(world, candidate, made)
    with pytest.raises(DataError, match="'overall' is waived, and no override names it"):
        deploy(world, candidate, verdict)
    assert (verdict / FILE).is_file()


def test_a_verdict_without_overrides_does_not_need_the_registry_to_hold_any(world: World, candidate: ModelBundle) -> None:
    verify(world, candidate, world.verdict(candidate))
