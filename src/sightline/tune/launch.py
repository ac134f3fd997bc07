"""Starts the search and collects what its trials say."""

import sys
from collections.abc import Callable
from pathlib import Path

from sightline.learn.child import Child, Event, run_child
from sightline.tune import __main__ as entry
from sightline.tune.job import Job, Report, Trial

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


def launch(job: Job, on_report: Callable[[Report], None]) -> list[Trial]:
    """Runs the search and returns its trials in the order of their points; a trial that never reported has failed.

    Raises:
        SightlineError: the search as a whole failed; nothing of it is left running.
    """
    path = Path(job.scratch) / "job.json"
    path.write_text(job.model_dump_json())
    latest: dict[int, Report] = {}

    def on_event(event: Event) -> None:
        report = Report.model_validate(event)
        latest[report.trial] = report
        on_report(report)

    command = (sys.executable, "-m", entry.__name__, "--job", str(path))
    run_child(Child("the search", command, Path(job.scratch), job.config.timeout_s, "tune.timeout_s", _ENVIRONMENT), on_event)
    return [_trial(job, number, latest.get(number)) for number in range(len(job.points))]


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
