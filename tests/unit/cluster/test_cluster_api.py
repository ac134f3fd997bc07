from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.cluster.api import RAY_JOB, TRAIN_JOB, Cluster, Kind, connect
from sightline.errors import EnvironmentFault, TemporaryError
from sightline.store.objects import ConflictError
from tests.fake_kubernetes import FakeKubernetes

LABELS = {"app": "sightline", "job": "a"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    with FakeKubernetes(tmp_path) as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
        yield fake


@pytest.fixture
def cluster(server: FakeKubernetes) -> Cluster:
    return connect("sightline")


def job(name: str = "job-a", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": TRAIN_JOB.api_version, "kind": "TrainJob", "metadata": {"name": name, "labels": LABELS}, "spec": spec}


def test_an_object_is_read_back_as_it_was_created(cluster: Cluster) -> None:
    created = cluster.create(TRAIN_JOB, job(suspend=True))
    read = cluster.get(TRAIN_JOB, "job-a")
    assert read == created
    assert read is not None
    assert read["spec"] == {"suspend": True}
    assert read["metadata"]["resourceVersion"]
    assert cluster.get(TRAIN_JOB, "job-b") is None


def test_a_name_that_is_taken_is_a_conflict(cluster: Cluster) -> None:
    cluster.create(TRAIN_JOB, job())
    with pytest.raises(ConflictError, match="already exists"):
        cluster.create(TRAIN_JOB, job())


def test_only_the_version_that_was_read_can_be_replaced(cluster: Cluster) -> None:
    old = cluster.create(TRAIN_JOB, job(suspend=True))
    changed = cluster.replace(TRAIN_JOB, old | {"spec": {"suspend": False}})
    assert changed["spec"] == {"suspend": False}
    with pytest.raises(ConflictError, match="modified"):
        cluster.replace(TRAIN_JOB, old | {"spec": {}})
    cluster.delete(TRAIN_JOB, "job-a")
    with pytest.raises(ConflictError, match="deleted by somebody else"):
        cluster.replace(TRAIN_JOB, changed)


def test_a_merge_patch_changes_what_it_names_and_removes_what_is_none(cluster: Cluster) -> None:
    cluster.create(TRAIN_JOB, job(suspend=True, trainer={"numNodes": 2, "env": [1, 2]}, labels={"a": "b"}))
    patched = cluster.patch(TRAIN_JOB, "job-a", {"spec": {"suspend": None, "trainer": {"env": [3]}}})
    assert patched["spec"] == {"trainer": {"numNodes": 2, "env": [3]}, "labels": {"a": "b"}}


def test_a_patch_that_names_an_old_version_is_a_conflict(cluster: Cluster) -> None:
    old = cluster.create(TRAIN_JOB, job())
    cluster.patch(TRAIN_JOB, "job-a", {"spec": {"suspend": True}})
    with pytest.raises(ConflictError):
        cluster.patch(TRAIN_JOB, "job-a", {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {"suspend": False}})


def test_deleting_twice_is_fine(cluster: Cluster, server: FakeKubernetes) -> None:
    cluster.create(TRAIN_JOB, job())
    cluster.delete(TRAIN_JOB, "job-a")
    cluster.delete(TRAIN_JOB, "job-a")
    assert server.objects(TRAIN_JOB) == []


def test_pods_are_found_by_label_and_their_last_lines_read(cluster: Cluster, server: FakeKubernetes) -> None:
    server.put_pod("b", LABELS, containers=("node", "log"), status={"phase": "Failed"})
    server.put_pod("a", LABELS, status={"phase": "Running"})
    server.put_pod("c", {"app": "other"}, status={"phase": "Running"})
    server.write_log("b", "one\ntwo\nthree\n", container="node")
    assert [pod["metadata"]["name"] for pod in cluster.pods("app=sightline,job=a")] == ["a", "b"]
    assert cluster.log("b", container="node", tail=2) == "two\nthree\n"


def test_the_log_of_a_pod_that_is_gone_is_empty(cluster: Cluster, server: FakeKubernetes) -> None:
    server.put_pod("b", LABELS, containers=("node", "log"), status={})
    assert cluster.log("a") == ""
    assert cluster.log("b", container="unknown") == ""


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_api_server_is_a_temporary_error(cluster: Cluster, server: FakeKubernetes, status: int) -> None:
    server.faults = [status]
    with pytest.raises(TemporaryError, match=str(status)):
        cluster.get(TRAIN_JOB, "job-a")
    assert cluster.get(TRAIN_JOB, "job-a") is None


def test_a_server_that_cannot_be_reached_is_a_temporary_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeKubernetes(tmp_path) as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
        cluster = connect("sightline")
    with pytest.raises(TemporaryError, match="cannot reach"):
        cluster.create(TRAIN_JOB, job())


def test_a_missing_permission_names_verb_and_resource(cluster: Cluster, server: FakeKubernetes) -> None:
    server.forbidden = {("create", "trainjobs"), ("list", "pods")}
    with pytest.raises(EnvironmentFault, match=r"create trainjobs\.trainer\.kubeflow\.org") as raised:
        cluster.create(TRAIN_JOB, job())
    assert "'create' on 'trainjobs.trainer.kubeflow.org'" in raised.value.remedy
    with pytest.raises(EnvironmentFault, match="list pods"):
        cluster.pods("a=b")


@pytest.mark.parametrize("verb", ["get", "create", "replace", "patch", "delete"])
def test_a_kind_without_its_operator_is_said_to_be_absent(cluster: Cluster, verb: str) -> None:
    unknown = Kind("unknown.example", "v1", "things")
    body = job() | {"apiVersion": "unknown.example/v1"}
    arguments = {"get": ("a",), "create": (body,), "replace": (body,), "patch": ("a", {}), "delete": ("a",)}[verb]
    with pytest.raises(EnvironmentFault, match=r"things\.unknown\.example \(v1\) is not installed on this cluster"):
        getattr(cluster, verb)(unknown, *arguments)


def test_another_version_of_a_kind_is_not_installed_either(cluster: Cluster) -> None:
    with pytest.raises(EnvironmentFault, match="is not installed"):
        cluster.get(Kind(RAY_JOB.group, "v2", RAY_JOB.plural), "a")


def test_a_missing_namespace_is_not_taken_for_a_missing_kind(server: FakeKubernetes) -> None:
    with pytest.raises(EnvironmentFault, match="no namespace 'elsewhere'"):
        connect("elsewhere").create(TRAIN_JOB, job())


def test_an_object_that_is_not_there_cannot_be_patched(cluster: Cluster) -> None:
    with pytest.raises(EnvironmentFault, match="there is none"):
        cluster.patch(TRAIN_JOB, "job-a", {})


def test_what_the_cluster_says_against_an_object_is_passed_on(cluster: Cluster, server: FakeKubernetes) -> None:
    server.refusals[TRAIN_JOB] = lambda body: "podSpecOverrides is not known" if "podSpecOverrides" in body["spec"] else ""
    with pytest.raises(EnvironmentFault, match="podSpecOverrides is not known"):
        cluster.create(TRAIN_JOB, job(podSpecOverrides=[]))
    cluster.create(TRAIN_JOB, job())


def test_unknown_credentials_are_an_environment_fault(server: FakeKubernetes) -> None:
    server.kubeconfig.write_text(server.kubeconfig.read_text().replace("fake-token", "stale"))
    with pytest.raises(EnvironmentFault, match="does not know this account"):
        connect("sightline").get(TRAIN_JOB, "a")


def test_without_a_cluster_the_message_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(EnvironmentFault, match="no Kubernetes cluster") as raised:
        connect("sightline")
    assert "KUBECONFIG" in raised.value.remedy


def test_a_controller_sees_each_change_and_may_report_a_status(cluster: Cluster, server: FakeKubernetes) -> None:
    seen = []

    def control(change: str, thing: dict[str, Any]) -> None:
        seen.append(change)
        server.set_status(TRAIN_JOB, thing["metadata"]["name"], {"conditions": [{"type": "Complete", "status": "True"}]})

    server.controllers[TRAIN_JOB] = control
    cluster.create(TRAIN_JOB, job())
    cluster.patch(TRAIN_JOB, "job-a", {"spec": {"suspend": True}})
    server.settle()
    read = cluster.get(TRAIN_JOB, "job-a")
    assert read is not None
    assert read["status"]["conditions"][0]["type"] == "Complete"
    cluster.delete(TRAIN_JOB, "job-a")
    server.settle()
    assert seen == ["created", "updated", "deleted"]
