"""Changes of an InferenceService: what they touch, and what happens when somebody else changes it at the same time."""

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.cluster.api import INFERENCE_SERVICE, connect
from sightline.config.deploy import DeployConfig
from sightline.deploy.judge import Observation
from sightline.deploy.targets.clients import PodClients
from sightline.deploy.targets.inference_service import (
    Served,
    canary_names,
    in_the_dark,
    new_service,
    promoted,
    stable_name,
    with_canary,
    without_canary,
)
from sightline.deploy.targets.kserve import Service
from sightline.errors import EnvironmentFault, TemporaryError
from sightline.store.objects import ConflictError
from tests.fake_kubernetes import FakeKubernetes
from tests.unit.deploy.fake_kserve import NAMESPACE, refusal

OLD, NEW = Served("0" * 64, "s3://b/models/0", "sightline"), Served("1" * 64, "s3://b/models/1", "sightline")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    with FakeKubernetes(tmp_path) as kubernetes:
        monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))
        kubernetes.refusals[INFERENCE_SERVICE] = refusal
        yield kubernetes


@pytest.fixture
def service(cluster: FakeKubernetes) -> Service:
    made = Service(connect(NAMESPACE), "sightline", sleep=lambda _: None)
    body = new_service("sightline", OLD, replicas=4)
    body["spec"]["predictor"] |= {"maxReplicas": 8, "scaleTarget": 50, "labels": {"team": "vision"}}
    body["spec"]["predictor"]["model"]["resources"] = {"requests": {"cpu": "2"}}
    made.create(body)
    return made


def predictor(cluster: FakeKubernetes) -> dict[str, Any]:
    return cluster.objects(INFERENCE_SERVICE)[0]["spec"]["predictor"]


def test_a_canary_is_like_the_predictor_but_for_its_model_name_and_scaling(service: Service, cluster: FakeKubernetes) -> None:
    before = predictor(cluster)
    service.change(lambda body: with_canary(body, NEW, percent=10, share=0.3))
    assert predictor(cluster) == before
    (canary,) = cluster.objects(INFERENCE_SERVICE)[0]["spec"]["canary"]
    model = before["model"] | {"storageUri": NEW.uri, "args": ["--digest", NEW.digest]}
    kept = {key: value for key, value in before.items() if key not in {"maxReplicas", "scaleTarget"}}
    assert canary == {"predictor": kept | {"name": NEW.name, "minReplicas": 2, "model": model}, "trafficPercent": 10}


def test_promotion_takes_the_canarys_pod_template_over_as_it_is_and_keeps_the_scaling(service: Service, cluster: FakeKubernetes) -> None:
    service.change(lambda body: with_canary(body, NEW, percent=10, share=0.3))
    canary = cluster.objects(INFERENCE_SERVICE)[0]["spec"]["canary"][0]["predictor"]
    service.take_over(NEW.name)
    scaling = {"minReplicas": 4, "maxReplicas": 8, "scaleTarget": 50}
    assert predictor(cluster) == canary | scaling
    assert "canary" not in cluster.objects(INFERENCE_SERVICE)[0]["spec"]
    version = cluster.objects(INFERENCE_SERVICE)[0]["metadata"]["resourceVersion"]
    service.take_over(NEW.name)
    service.remove("m-somebody")
    assert cluster.objects(INFERENCE_SERVICE)[0]["metadata"]["resourceVersion"] == version  # repeated: nothing is written


def test_the_changes_are_pure() -> None:
    body = with_canary(new_service("sightline", OLD, replicas=1), NEW, percent=5, share=0.05)
    before = copy.deepcopy(body)
    for changed in (
        without_canary(body),
        promoted(body, NEW.name),
        in_the_dark(body, NEW.name),
        with_canary(body, OLD, percent=0, share=1),
    ):
        assert changed != body
    assert body == before
    assert (stable_name(promoted(body, NEW.name)), canary_names(in_the_dark(body, "m-other"))) == (NEW.name, [])


def test_a_change_is_worked_out_anew_when_somebody_was_faster(service: Service, cluster: FakeKubernetes) -> None:
    other, meddled = connect(NAMESPACE), []

    def change(body: dict[str, Any]) -> dict[str, Any]:
        if len(meddled) < 2:
            meddled.append(other.patch(INFERENCE_SERVICE, "sightline", {"spec": {"predictor": {"timeout": len(meddled) + 1}}}))
        return with_canary(body, NEW, percent=0, share=0.1)

    service.change(change)
    assert predictor(cluster)["timeout"] == 2  # theirs is kept
    assert cluster.objects(INFERENCE_SERVICE)[0]["spec"]["canary"][0]["predictor"]["timeout"] == 2


def test_a_change_that_is_never_free_gives_up_and_says_so(service: Service) -> None:
    other, count = connect(NAMESPACE), iter(range(99))

    def change(body: dict[str, Any]) -> dict[str, Any]:
        other.patch(INFERENCE_SERVICE, "sightline", {"spec": {"predictor": {"timeout": next(count)}}})
        return without_canary(body) | {"spec": body["spec"] | {"predictor": {}}}

    with pytest.raises(ConflictError):
        service.change(change)


def test_an_api_server_that_is_away_for_a_while_does_not_matter(service: Service, cluster: FakeKubernetes) -> None:
    cluster.faults = [503, 500, 429]
    service.change(lambda body: with_canary(body, NEW, percent=0, share=0.1))
    cluster.faults = [503] * 20
    with pytest.raises(TemporaryError):
        service.remove(NEW.name)


def test_a_service_in_another_mode_is_refused(cluster: FakeKubernetes) -> None:
    body = new_service("sightline", OLD, replicas=1)
    body["metadata"]["annotations"] = {}
    cluster.create(INFERENCE_SERVICE, NAMESPACE, body)
    with pytest.raises(EnvironmentFault, match=r"has no annotation serving\.kserve\.io/deploymentMode: Standard"):
        Service(connect(NAMESPACE), "sightline").read()


def test_a_missing_permission_is_named(service: Service, cluster: FakeKubernetes) -> None:
    cluster.forbidden.add(("update", "inferenceservices"))
    with pytest.raises(EnvironmentFault, match=r"allow the verb 'update' on 'inferenceservices\.serving\.kserve\.io'"):
        service.change(lambda body: with_canary(body, NEW, percent=0, share=0.1))


def pods(cluster: FakeKubernetes, *served: Served) -> None:
    for one in served:
        status = {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        cluster.put_pod(f"{one.name}-x", {"app": f"isvc.sightline-{one.name}-predictor"}, status=status, namespace=NAMESPACE)


def clients(service: Service, cluster: FakeKubernetes) -> PodClients:
    service.change(lambda body: with_canary(body, NEW, percent=0, share=0.5))
    pods(cluster, OLD, NEW)
    return PodClients(service, DeployConfig(target="kserve", metrics_port=9), NEW, OLD, salt="s")


async def _shifted(found: PodClients, seen: list[Observation]) -> None:
    await found.shift(seen.append)


def test_a_canary_that_somebody_else_takes_out_ends(service: Service, cluster: FakeKubernetes) -> None:
    found = clients(service, cluster)
    asyncio.run(_shifted(found, []))
    assert (found.failure(), found.canary_share) == ("", 0.5)
    service.change(without_canary)
    found._look()
    assert found.failure() == "the canary was taken out of the service by somebody else"


def test_a_share_that_somebody_else_changes_ends_the_canary(service: Service, cluster: FakeKubernetes) -> None:
    found = clients(service, cluster)
    asyncio.run(_shifted(found, []))
    service.change(lambda body: with_canary(body, NEW, percent=51, share=0.5))
    found._look()
    assert found.failure() == "the canary's share of the traffic was changed by somebody else"


def test_a_share_that_is_no_whole_percentage_is_refused_for_kserve_only() -> None:
    assert DeployConfig(canary_share=0.125).canary_share == 0.125
    assert DeployConfig(target="kserve", canary_share=0.29).canary_share == 0.29
    with pytest.raises(ValueError, match="no whole percentage"):
        DeployConfig(target="kserve", canary_share=0.125)
