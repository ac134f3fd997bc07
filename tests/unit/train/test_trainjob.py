import re
import threading
import time
from functools import reduce

import pytest

from sightline.cluster.api import TRAIN_JOB
from sightline.config.cluster import ClusterConfig
from sightline.config.store import StoreConfig
from sightline.config.train import TrainConfig
from sightline.errors import EnvironmentFault, UsageError
from sightline.learn import remote
from sightline.learn.staging import StagedJob
from sightline.store.objects import open_store
from sightline.train import step
from sightline.train.trainjob import read_state, train_job
from tests.datasets import tiny_dataset
from tests.fake_kubernetes import FakeKubernetes
from tests.fake_operators import Trainer, _refused
from tests.restricted import violations
from tests.s3 import s3_bucket

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
CLUSTER = ClusterConfig(train_image="registry/python-train:c-0123456789abcdef", cpus_per_node=1)
CONFIG = TrainConfig(width=8, epochs=6, batch_size=16, num_processes=1, num_nodes=2, lr=1e-2, launcher="trainjob")
STAGED = StagedJob("s3://bucket/jobs/k/job.json", "d" * 64)
POD = "runtimePatches.0.trainingRuntimeSpec.template.spec.replicatedJobs.0.template.spec.template"


def at(value, path):
    return reduce(lambda found, part: found[int(part)] if part.isdigit() else found[part], path.split("."), value)


def body(config=CONFIG, **cluster):
    return train_job(config, CLUSTER.model_copy(update=cluster), STAGED, "k" * 64).body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("runtimeRef", {"apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime", "name": "torch-distributed"}),
        ("suspend", True),
        ("activeDeadlineSeconds", 4200),
        ("trainer.command", ["torchrun", "-m", "sightline.train", "--job", STAGED.uri, "--sha256", STAGED.sha256]),
        ("trainer.image", CLUSTER.train_image),
        ("trainer.numNodes", 2),
        ("trainer.numProcPerNode", 1),
        ("trainer.resourcesPerNode.limits", {"memory": "16Gi"}),
        ("trainer.resourcesPerNode.requests", {"cpu": "1", "memory": "16Gi"}),
        (f"{POD}.spec.serviceAccountName", "sightline-train"),
        (f"{POD}.spec.nodeSelector", {"sightline.dev/pool": "cpu"}),
        (f"{POD}.spec.tolerations", [{"key": "sightline.dev/spot", "operator": "Exists", "effect": "NoSchedule"}]),
        (f"{POD}.spec.containers.0.name", "node"),
        (f"{POD}.spec.volumes.1", {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}),
        (f"{POD}.metadata.annotations", {"karpenter.sh/do-not-disrupt": "true"}),
    ],
)
def test_a_train_job_says_what_the_cluster_needs(path, value):
    assert at(body()["spec"], path) == value


def test_its_name_labels_and_annotation_follow_from_the_job():
    assert body()["metadata"] == {
        "name": f"train-{'k' * 16}",
        "namespace": "sightline",
        "labels": {
            "app.kubernetes.io/part-of": "sightline",
            "app.kubernetes.io/managed-by": "sightline",
            "kueue.x-k8s.io/queue-name": "sightline",
            "kueue.x-k8s.io/priority-class": "sightline-scheduled",
        },
        "annotations": {"sightline.dev/staged": STAGED.sha256},
    }


def test_without_a_queue_it_starts_at_once():
    assert body(queue="")["spec"]["suspend"] is False
    assert "kueue.x-k8s.io/queue-name" not in body(queue="")["metadata"]["labels"]


def test_gpus_are_asked_for_where_they_are_and_tolerated():
    spec = body(gpus_per_node=4)["spec"]
    assert spec["trainer"]["resourcesPerNode"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "4"}
    pod = at(spec, POD)["spec"]
    assert pod["nodeSelector"] == {"sightline.dev/pool": "gpu"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]


def test_spot_is_preferred_and_never_demanded_and_can_be_refused():
    preferred = at(body()["spec"], POD)["spec"]["affinity"]["nodeAffinity"]
    assert list(preferred) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    steady = at(body(spot=False)["spec"], POD)["spec"]
    assert steady["nodeSelector"] == {"sightline.dev/pool": "cpu", "sightline.dev/capacity": "on-demand"}
    assert steady["tolerations"] == []
    assert "affinity" not in steady


def test_its_pods_are_restricted_and_the_check_can_fail():
    pod = at(body()["spec"], POD)["spec"]
    assert violations(pod) == []
    del pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    pod["securityContext"]["runAsNonRoot"] = False
    assert violations(pod) == ["the pod may run as root", "node: its root file system can be written"]


def test_the_trainer_accepts_it_and_refuses_the_fields_of_earlier_releases():
    assert _refused(body()) == ""
    old = body()
    old["spec"]["podSpecOverrides"] = []
    assert "podSpecOverrides" in _refused(old)
    old = body()
    at(old["spec"], POD)["spec"]["priorityClassName"] = "x"
    assert "priorityClassName" in _refused(old)


@pytest.mark.parametrize(
    ("spec", "status", "phase"),
    [
        ({}, {}, "starting"),
        ({"suspend": True}, {}, "waiting"),
        ({}, {"conditions": [{"type": "Suspended", "status": "True"}]}, "waiting"),
        ({}, {"conditions": [{"type": "Suspended", "status": "False"}], "jobsStatus": [{"name": "node", "active": 2}]}, "running"),
        ({}, {"conditions": [{"type": "Complete", "status": "True"}]}, "done"),
        ({}, {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m"}]}, "failed"),
    ],
)
def test_a_status_is_understood(spec, status, phase):
    assert read_state({"spec": spec, "status": status}).phase == phase


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d", counts={"train": 48, "val": 18, "golden": 18})


@pytest.fixture(scope="module")
def here(dataset, tmp_path_factory):
    """The same training with both nodes' processes on this machine."""
    folder = tmp_path_factory.mktemp("here")
    return trained(dataset, folder, CONFIG.model_copy(update={"launcher": "torchrun"}), jobs=str(folder / "jobs"))


def trained(dataset, folder, config, *, jobs):
    places = {name: str(folder / name) for name in ("cache", "registry", "runs")}
    store = StoreConfig(**places, jobs=jobs, tracking="http://127.0.0.1:9")
    output = str(folder / "model")
    return step.run(
        dataset=str(dataset.artifact.folder), tuned="", config=config, store=store, run_id="r", output=output, cluster=CLUSTER
    ).artifact


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_POLL_S", 0.1)
    with FakeKubernetes(tmp_path) as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
        yield fake


@pytest.fixture
def trainer(server, tmp_path):
    played = Trainer(server, tmp_path / "nodes")
    yield played
    played.close()


@pytest.fixture
def jobs():
    with s3_bucket() as bucket:
        yield f"{bucket}/jobs"


def test_two_nodes_train_what_one_machine_trains_and_leave_nothing_behind(dataset, here, server, trainer, jobs, tmp_path):
    artifact = trained(dataset, tmp_path, CONFIG, jobs=jobs)
    assert artifact.digest == here.digest
    assert trainer.started == 1
    assert server.objects(TRAIN_JOB) == []
    assert open_store(jobs).list() == []
    # Its folder, and that of the job, are all that a pod can write to: both nodes fetched their own copy.
    assert len(list(tmp_path.glob("nodes/*/node-*/sightline-*/inputs-*.lock"))) == 8


@pytest.mark.slow
def test_a_training_whose_node_is_taken_away_goes_on_from_the_store(dataset, here, server, trainer, jobs, tmp_path):
    def take_away():
        store = open_store(jobs)
        while not any(key.endswith("checkpoints/epoch-00001/manifest.json") for key in store.list()):
            time.sleep(0.05)
        trainer.preempt(server.objects(TRAIN_JOB)[0]["metadata"]["name"], node=1)

    thread = threading.Thread(target=take_away)
    thread.start()
    artifact = trained(dataset, tmp_path, CONFIG, jobs=jobs)
    thread.join()
    assert trainer.started == 2
    assert re.search(r"training goes on after epoch [1-5]\b", next(tmp_path.glob("nodes/*-2/node-0/log")).read_text())
    assert artifact.digest == here.digest


def test_where_there_is_no_train_job_one_node_trains_here_and_several_only_when_that_is_allowed(dataset, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("sightline.train.launch._here", lambda job, _on_epoch: calls.append(job.config.num_nodes) or [])
    with FakeKubernetes(tmp_path, kinds=()) as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
        with pytest.raises(EnvironmentFault, match=r"2 nodes need Kubeflow Trainer: trainjobs.*is not installed(?s:.*)train.fall_back"):
            trained(dataset, tmp_path, CONFIG, jobs="s3://bucket/jobs")
        for change in ({"num_nodes": 1}, {"fall_back": True}):
            with pytest.raises(EnvironmentFault, match="without weights"):
                trained(dataset, tmp_path, CONFIG.model_copy(update=change), jobs="s3://bucket/jobs")
    assert calls == [1, 2]


def test_what_other_machines_need_is_checked_before_anything_is_sent(dataset, server, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"other machines cannot read the folder(?s:.*)store.jobs"):
        trained(dataset, tmp_path, CONFIG, jobs=str(tmp_path / "jobs"))
    monkeypatch.setattr(f"{__name__}.CLUSTER", ClusterConfig())
    with pytest.raises(UsageError, match=r"cluster.train_image is empty"):
        trained(dataset, tmp_path / "other", CONFIG, jobs="s3://bucket/jobs")
