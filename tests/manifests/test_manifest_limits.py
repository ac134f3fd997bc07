"""Quotas let one retrain run through, and the queue lets its jobs start."""

import re
from fractions import Fraction

import pytest

from pipelines._placement import PROFILES
from pipelines.argo.steps import STEPS
from sightline.config.cluster import ClusterConfig
from tests.manifests.objects import pod_templates

_FACTORS = {"": 1, "m": Fraction(1, 1000), "k": 10**3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
# What stands beside a run's own steps: Kubeflow's API server and its friends state 0.6 CPU and 2.7 GiB, the bus 0.45 CPU and 1.1 GiB.
_STANDING = {"cpu": Fraction(2), "memory": Fraction(6 * 2**30)}


def amount(text: str) -> Fraction:
    """A Kubernetes quantity as a number."""
    number, unit = re.fullmatch(r"([\d.]+)([a-zA-Z]*)", str(text)).groups()
    return Fraction(number) * _FACTORS[unit]


def retrain_run() -> dict[str, Fraction]:
    """The sum of all steps' requests; they run one after the other, so this is more than a run ever holds."""
    steps = [PROFILES[step.profile] for step in STEPS.values()]
    return {"cpu": sum(amount(s.cpu) for s in steps), "memory": sum(amount(s.memory) for s in steps)}


def jobs(nodes: int) -> dict[str, Fraction]:
    """A TrainJob and a RayJob of so many nodes each, of the size that the configuration starts with."""
    cluster = ClusterConfig()
    return {
        "cpu": Fraction(2 * nodes * cluster.cpus_per_node),
        "memory": Fraction(2 * nodes * cluster.memory_gib_per_node * 2**30),
    }


@pytest.mark.parametrize(("environment", "nodes"), [("dev", 0), ("prod", 8)])
def test_the_quota_admits_one_retrain_run(environment, nodes, overlays):
    hard = overlays[environment].one("ResourceQuota", "sightline", "sightline")["spec"]["hard"]
    for resource in ("cpu", "memory"):
        needed = retrain_run()[resource] + jobs(nodes)[resource] + _STANDING[resource]
        assert needed <= amount(hard[f"requests.{resource}"]), resource


def test_a_quota_that_is_too_small_is_seen(dev):
    hard = dev.one("ResourceQuota", "sightline", "sightline")["spec"]["hard"]
    assert retrain_run()["memory"] + jobs(8)["memory"] > amount(hard["requests.memory"])


def test_the_queue_holds_what_the_quota_admits_and_gpus_are_nowhere_else(prod):
    queue = prod.one("ClusterQueue", "sightline")["spec"]["resourceGroups"][0]
    quotas = {f["name"]: {r["name"]: amount(r["nominalQuota"]) for r in f["resources"]} for f in queue["flavors"]}
    for flavor in quotas.values():
        assert set(flavor) == set(queue["coveredResources"]), "Kueue refuses a flavor that leaves a resource out"
    hard = prod.one("ResourceQuota", "sightline", "sightline")["spec"]["hard"]
    assert sum(flavor["nvidia.com/gpu"] for flavor in quotas.values()) == amount(hard["requests.nvidia.com/gpu"])
    assert next(iter(quotas)) == "sightline-cpu", "a job without GPUs takes the first flavor that fits"
    assert quotas["sightline-cpu"]["nvidia.com/gpu"] == 0
    assert quotas["sightline-gpu"]["cpu"] >= jobs(8)["cpu"] / 2


def test_every_resource_that_a_queued_pod_asks_for_is_covered(prod_argo):
    covered = set(prod_argo.one("ClusterQueue", "sightline")["spec"]["resourceGroups"][0]["coveredResources"])
    asked = {
        resource
        for body in prod_argo.of_kind("WorkflowTemplate")
        for pod in pod_templates(body)
        for container in pod.containers
        for resource in container["resources"]["requests"]
    }
    assert asked <= covered


def test_the_queues_names_are_those_of_the_configuration(prod):
    cluster = ClusterConfig()
    assert prod.one("LocalQueue", cluster.queue, cluster.namespace)["spec"]["clusterQueue"] == "sightline"
    assert cluster.priority_class in {b["metadata"]["name"] for b in prod.of_kind("WorkloadPriorityClass")}
    assert cluster.priority_class in {b["metadata"]["name"] for b in prod.of_kind("PriorityClass")}


def test_serving_goes_before_people_and_people_before_schedules(overlay):
    values = {b["metadata"]["name"]: b["value"] for b in overlay.of_kind("PriorityClass")}
    assert values["sightline-serving"] > values["sightline-interactive"] > values["sightline-scheduled"] > 0


def test_a_pod_without_limits_fits_the_defaults(overlay):
    """A pod whose request is above the default limit is refused; MySQL of Kubeflow asks for 800Mi and states no limit."""
    limits = overlay.one("LimitRange", "sightline", "sightline")["spec"]["limits"][0]
    assert amount(limits["default"]["memory"]) >= amount("800Mi")
    assert "cpu" not in limits["default"], "throttling only makes a step slower"
