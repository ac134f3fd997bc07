import json
import shutil
import threading
import time
from functools import reduce

import pytest

from sightline.cluster.api import RAY_JOB, AbsentError
from sightline.config.cluster import ClusterConfig
from sightline.config.store import StoreConfig
from sightline.config.train import TrainConfig
from sightline.config.tune import TuneConfig
from sightline.learn import remote
from sightline.learn.describe import describe
from sightline.learn.packed import pack
from sightline.learn.staging import StagedJob
from sightline.store.objects import open_store
from sightline.tune import step
from sightline.tune.job import Job, Report, Trial
from sightline.tune.journal import Journal
from sightline.tune.launch import launch
from sightline.tune.rayjob import ray_job, read_state
from sightline.tune.search import make_ray_folder
from sightline.tune.space import draw_points
from tests.datasets import tiny_dataset
from tests.fake_kubernetes import FakeKubernetes
from tests.fake_operators import RayOperator
from tests.restricted import violations
from tests.s3 import s3_bucket

TRAIN = TrainConfig(width=8, batch_size=16, lr=5e-3)
CONFIG = TuneConfig(num_trials=3, max_epochs=2, grace_epochs=2, num_concurrent=1, lr_range=(1e-3, 1e-2), launcher="rayjob")
CLUSTER = ClusterConfig(train_image="registry/python-train:c-0123456789abcdef", cpus_per_node=4)
STAGED = StagedJob("s3://bucket/jobs/k/job.json", "d" * 64)
HEAD = "rayClusterSpec.headGroupSpec"
WORKERS = "rayClusterSpec.workerGroupSpecs.0"


def at(value, path):
    return reduce(lambda found, part: found[int(part)] if part.isdigit() else found[part], path.split("."), value)


def body(config=CONFIG, **cluster):
    return ray_job(config, CLUSTER.model_copy(update=cluster), STAGED, "k" * 64).body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("entrypoint", f"python -m sightline.tune --job {STAGED.uri} --sha256 {STAGED.sha256}"),
        ("submissionMode", "HTTPMode"),
        ("shutdownAfterJobFinishes", True),
        ("ttlSecondsAfterFinished", 600),
        ("activeDeadlineSeconds", 2400),
        ("backoffLimit", 0),
        ("suspend", True),
        ("rayClusterSpec.rayVersion", "2.60.0"),
        ("rayClusterSpec.authOptions", {"mode": "token"}),
        (f"{HEAD}.rayStartParams.num-cpus", "0"),
        (f"{HEAD}.template.spec.containers.0.name", "ray-head"),
        (f"{WORKERS}.rayStartParams.num-cpus", "4"),
        (f"{WORKERS}.template.spec.containers.0.image", CLUSTER.train_image),
        (f"{WORKERS}.template.spec.containers.0.resources.limits", {"memory": "16Gi"}),
        (f"{WORKERS}.template.spec.serviceAccountName", "sightline-tune"),
        (f"{WORKERS}.template.spec.nodeSelector", {"sightline.dev/pool": "cpu"}),
        (f"{WORKERS}.template.spec.tolerations", [{"key": "sightline.dev/spot", "operator": "Exists", "effect": "NoSchedule"}]),
    ],
)
def test_a_ray_job_says_what_the_cluster_needs(path, value):
    assert at(body()["spec"], path) == value


def test_there_are_as_many_workers_as_the_trials_at_a_time_need():
    for num, workers in ((1, 1), (4, 1), (5, 2), (16, 4)):
        spec = at(body(CONFIG.model_copy(update={"num_concurrent": num}))["spec"], WORKERS)
        assert (spec["replicas"], spec["minReplicas"], spec["maxReplicas"]) == (workers,) * 3


def test_it_waits_in_the_queue_and_without_one_starts_at_once():
    assert body()["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "sightline"
    assert body(queue="")["spec"]["suspend"] is False


def test_all_its_pods_are_restricted_and_the_check_can_fail():
    spec = body()["spec"]
    for place in (HEAD, WORKERS):
        pod = at(spec, f"{place}.template.spec")
        assert violations(pod) == []
        pod["containers"][0]["securityContext"]["capabilities"] = {}
        assert violations(pod) == [f"{pod['containers'][0]['name']}: it keeps capabilities"]


@pytest.mark.parametrize(
    ("spec", "status", "phase"),
    [
        ({}, {}, "starting"),
        ({"suspend": True}, {}, "waiting"),
        ({}, {"jobDeploymentStatus": "Suspended"}, "waiting"),
        ({}, {"jobDeploymentStatus": "Initializing"}, "starting"),
        ({}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "running"),
        ({}, {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, "done"),
        ({}, {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, "failed"),
        ({}, {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}, "failed"),
    ],
)
def test_a_status_is_understood(spec, status, phase):
    assert read_state({"spec": spec, "status": status}).phase == phase


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d", counts={"train": 48, "val": 18, "golden": 18})


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_POLL_S", 0.1)
    with FakeKubernetes(tmp_path) as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
        yield fake


@pytest.fixture
def operator(server, tmp_path):
    played = RayOperator(server, tmp_path / "heads")
    yield played
    played.close()


def searched(dataset, folder, config, jobs):
    store = StoreConfig(**{name: str(folder / name) for name in ("cache", "registry", "runs")}, jobs=jobs, tracking="")
    output = str(folder / "out")
    return step.run(
        dataset=str(dataset.artifact.folder), config=config, train=TRAIN, store=store, run_id="r", output=output, cluster=CLUSTER
    )


@pytest.mark.slow
def test_a_search_whose_machines_are_taken_away_goes_on_and_leaves_nothing_behind(dataset, server, operator, tmp_path):
    journals = []

    def take_away(jobs):
        store = open_store(jobs)
        while not (found := [key for key in store.list() if "/trials/" in key]):
            time.sleep(0.05)
        journals.extend(found)
        operator.preempt(server.objects(RAY_JOB)[0]["metadata"]["name"])

    with s3_bucket() as bucket:
        jobs = f"{bucket}/jobs"
        thread = threading.Thread(target=take_away, args=(jobs,))
        thread.start()
        result = searched(dataset, tmp_path, CONFIG, jobs)
        thread.join()
        # Ray's file system makes an object for the folder itself.
        assert [key for key in open_store(jobs).list() if key] == []
    trials = [Trial.model_validate(line) for line in json.loads(result.artifact.file("trials.json").read_bytes())]
    assert [trial.trial for trial in trials] == [0, 1, 2]
    assert all(trial.epochs == 2 and not trial.failed for trial in trials)
    assert len(journals) == 1
    assert operator.started == 2
    assert server.objects(RAY_JOB) == []


class Stop(Exception):
    pass


def test_a_trial_that_was_over_is_not_repeated(dataset, tmp_path):
    place = str(tmp_path / "jobs")

    def stop(report):
        if report.over:
            raise Stop

    with pytest.raises(Stop):
        launched(dataset, tmp_path, place, stop)
    over = Journal(place).read()
    assert over
    reports = []
    trials = launched(dataset, tmp_path, place, reports.append)
    for number, last in over.items():
        assert [report for report in reports if report.trial == number] == [last]
    assert [trial.epochs for trial in trials] == [2, 2]
    # With nothing left to do there is no Ray to be started.
    assert launched(dataset, tmp_path, place, reports.append) == trials


def launched(dataset, folder, place, on_report):
    info, preprocessing = describe(dataset, TRAIN)
    config = CONFIG.model_copy(update={"num_trials": 2, "launcher": "pod"})
    ray_folder = make_ray_folder()
    scratch = ray_folder / "s"
    scratch.mkdir()
    images = {"train": pack(dataset, "train", scratch), "val": pack(dataset, "val", scratch)}
    job = Job(
        config=config,
        train_config=TRAIN,
        points=tuple(draw_points(config, TRAIN)),
        info=info,
        preprocessing=preprocessing,
        **images,
        scratch=str(scratch),
        ray_folder=str(ray_folder),
        place=place,
    )
    try:
        return launch(job, "k" * 64, CLUSTER, on_report, lambda _text: None)
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)


def test_where_there_is_no_ray_job_the_search_runs_here_unless_that_is_forbidden(dataset, tmp_path, monkeypatch):
    calls = []

    def here(job, on_event):
        calls.append(job.place)
        on_event(Report(trial=0, epoch=2, val_accuracy=0.5, val_loss=1.0, over=True).model_dump())

    monkeypatch.setattr("sightline.tune.launch._here", here)
    with FakeKubernetes(tmp_path, kinds=()) as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
        searched(dataset, tmp_path / "allowed", CONFIG, str(tmp_path / "jobs"))
        with pytest.raises(AbsentError, match=r"rayjobs.ray.io \(v1\) is not installed"):
            searched(dataset, tmp_path / "forbidden", CONFIG.model_copy(update={"fall_back": False}), str(tmp_path / "jobs"))
    assert len(calls) == 1
