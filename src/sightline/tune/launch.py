"""Starts the search and collects what its trials say."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sightline.cluster.api import RAY_JOB, AbsentError, connect
from sightline.config.cluster import ClusterConfig
from sightline.learn.child import Child, Emit, Event, run_child
from sightline.learn.remote import check_remote, run_remote
from sightline.learn.staging import StagedJob, stage
from sightline.store.steps import Progress
from sightline.tune import __main__ as entry
from sightline.tune.job import Job, Report, Trial
from sightline.tune.rayjob import ray_job

_LOG = logging.getLogger(__name__)
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    # The switch that keeps Ray to the loopback interface; ray.init(_node_ip_address="127.0.0.1") is replaced by a public address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "OMP_NUM_THREADS": "1",
}


def launch(job: Job, key: str, cluster: ClusterConfig, on_report: Callable[[Report], None], progress: Progress) -> list[Trial]:
    """Runs the search where ``tune.launcher`` says; returns its trials in the order of their points, one that never reported as failed.

    Args:
        job: the search.
        key: digest of all that decides its result.
        cluster: where a RayJob is started.
        on_report: is told each report.
        progress: is told what is waited for.

    Raises:
        SightlineError: the search as a whole failed; nothing of it is left running.
    """
    latest: dict[int, Report] = {}

    def on_event(event: Event) -> None:
        report = Report.model_validate(event)
        latest[report.trial] = report
        on_report(report)

    _run(job, key, cluster, on_event, progress)
    return [_trial(job, number, latest.get(number)) for number in range(len(job.points))]


def _run(job: Job, key: str, cluster: ClusterConfig, on_event: Emit, progress: Progress) -> None:
    if job.config.launcher == "rayjob":
        try:
            _on_cluster(job, key, cluster, on_event, progress)
        except AbsentError as error:
            if not job.config.fall_back:
                raise
            _LOG.warning("the search runs on this machine, for %s", error.message)
        else:
            return
    _here(job, on_event)


def _here(job: Job, on_event: Emit) -> None:
    if os.environ.get("RAY_ADDRESS") and "://" in job.place:
        staged = _staged(job)  # trials may be on other machines
        job = job.model_copy(update={"shared": (staged.uri, staged.sha256)})
    path = Path(job.scratch) / "job.json"
    path.write_text(job.model_dump_json())
    command = (sys.executable, "-m", entry.__name__, "--job", str(path))
    run_child(Child("the search", command, Path(job.scratch), job.config.timeout_s, "tune.timeout_s", _ENVIRONMENT), on_event)


def _on_cluster(job: Job, key: str, cluster: ClusterConfig, on_event: Emit, progress: Progress) -> None:
    connection = connect(cluster.namespace)
    connection.get(RAY_JOB, "tune")  # before anything is sent: is there a cluster with KubeRay?
    check_remote(cluster, job.place)
    progress("sending the images")
    run_remote(ray_job(job.config, cluster, _staged(job), key), connection, on_event, progress)


def _staged(job: Job) -> StagedJob:
    return stage(job.model_copy(update={"scratch": "", "ray_folder": ""}), (*job.train.files, *job.val.files), job.place)


def _trial(job: Job, number: int, last: Report | None) -> Trial:
    report = last or Report(trial=number, epoch=0, val_accuracy=None, val_loss=None, failed="it never reported")
    return Trial(
        trial=number,
        **job.points[number].model_dump(),
        epochs=report.epoch,
        val_accuracy=report.val_accuracy,
        stopped_early=not report.failed and report.epoch < job.config.max_epochs,
        failed=report.failed,
    )
