"""envs/prod is planned against the same AWS on loopback: what differs from dev is what must differ."""

import json
from typing import Any

import pytest

from tests.infra.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def planned(world: World) -> dict[str, Any]:
    """The planned values of every resource, by address without the platform's own prefix."""
    root = world.root("prod")
    root.run("plan", "-out=plan", "-no-color", "-parallelism=20")
    plan = json.loads(root.run("show", "-json", "plan").stdout)
    return {change["address"].removeprefix("module.platform."): change["change"]["after"] for change in plan["resource_changes"]}


def test_databases_survive_a_zone_and_a_mistake(planned: dict[str, Any]):
    for name in ("mlflow", "kfp"):
        database = planned[f'module.database["{name}"].aws_db_instance.this']
        assert database["multi_az"] is True
        assert database["deletion_protection"] is True
        assert database["skip_final_snapshot"] is False
        assert database["backup_retention_period"] == 14
    assert planned['module.database["kfp"].aws_db_instance.this']["engine"] == "mysql"


def test_each_zone_has_a_nat_gateway_of_its_own(planned: dict[str, Any]):
    zones = {address for address in planned if address.startswith("module.network.aws_nat_gateway.this")}
    assert zones == {f'module.network.aws_nat_gateway.this["us-east-1{letter}"]' for letter in "abc"}


def test_buckets_with_objects_survive_destroy(planned: dict[str, Any]):
    for name in ("this", "logs"):
        assert planned[f"module.artifact_store.aws_s3_bucket.{name}"]["force_destroy"] is False


def test_an_unusual_rise_of_costs_is_told(planned: dict[str, Any]):
    assert "module.budget.aws_ce_anomaly_monitor.services[0]" in planned
    assert float(planned["module.budget.aws_budgets_budget.month"]["limit_amount"]) == 2500


def test_everything_is_tagged_with_its_environment(planned: dict[str, Any]):
    tagged = [after["tags_all"] for after in planned.values() if after and after.get("tags_all")]
    assert tagged
    assert all(tags["environment"] == "sightline-prod" for tags in tagged)
