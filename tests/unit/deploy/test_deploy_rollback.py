"""`sightline rollback --target kserve` against the KServe on loopback: the previous model serves, the bad one is gone."""

import json

from typer.testing import CliRunner

from sightline.cli.app import app
from sightline.registry.ledger import Ledger
from tests.fake_kubernetes import FakeKubernetes
from tests.unit.deploy.fake_kserve import FakeKServe, wait_for
from tests.unit.deploy.test_deploy_kserve import (  # noqa: F401 - fixtures
    champion_of,
    cluster,
    config,
    deploy,
    kserve,
    name_of,
    pytestmark,
    spec,
    world,
)
from tests.unit.deploy.tiny_world import World


def rollback(place: World, *options: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["rollback", "--registry", place.store.registry, "--target", "kserve", "--json", *options])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_one_command_puts_the_previous_model_back_and_can_be_finished_later(
    world: World,  # noqa: F811
    cluster: FakeKubernetes,  # noqa: F811
    kserve: FakeKServe,  # noqa: F811
) -> None:
    first = world.champion()
    bad = world.bundle("candidate")
    assert deploy(world, bad, config(kserve)).result.outcome == "promoted"
    assert spec(cluster)["predictor"]["name"] == name_of(bad)

    Ledger(world.store.registry).rollback()  # and then the person's machine was gone
    assert spec(cluster)["predictor"]["name"] == name_of(bad)  # the control: the ledger alone changes nothing on the cluster
    found = rollback(world, "--resume")
    assert (found["generation"], found["digest"]) == (3, first.digest)
    assert (spec(cluster)["predictor"]["name"], "canary" in spec(cluster)) == (name_of(first), False)
    wait_for(lambda: list(kserve.pids()) == [name_of(first)])
    assert kserve.unserved == 0  # the bad model went on until the previous one was ready
    assert rollback(world, "--resume") == found
    assert champion_of(world) == first.digest


def test_what_has_no_predecessor_stays(world: World, cluster: FakeKubernetes, kserve: FakeKServe) -> None:  # noqa: F811
    world.champion()
    done = CliRunner().invoke(app, ["rollback", "--registry", world.store.registry, "--target", "kserve"])
    assert "no earlier champion" in str(done.exception)
    assert cluster.requests == []
