"""The search in Ray Tune; runs in a process of its own."""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline.errors import EnvironmentFault
from sightline.learn.child import Emit
from sightline.learn.node import node_folder
from sightline.learn.staging import StagedJob, fetch
from sightline.tune.job import Job, Report
from sightline.tune.journal import Journal
from sightline.tune.trial import run_trial

# Ray's smallest; the images travel by memory-mapped file, so it stays empty.
_OBJECT_STORE_BYTES = 80 * 2**20
_LONGEST_BASE = 20


def make_ray_folder() -> Path:
    """A new folder with a path that is short enough for Ray's sockets; the caller removes it."""
    base = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="sltune-", dir=base if len(base) <= _LONGEST_BASE else "/tmp"))  # noqa: S108 - macOS has long ones


def search(job: Job, emit: Emit) -> None:
    """Runs all trials, ``num_concurrent`` at a time, and emits each ``Report``; ASHA stops those that fall behind.

    The actors are reused from trial to trial: 18 ms per trial instead of 969. What ASHA stops depends on the order in which concurrent
    trials report: a search repeats its points and each trial's numbers, but not always which trials are stopped. Trials that an interrupted
    search had finished are only reported again; ASHA then compares the others among themselves.

    Ray is the cluster that RAY_ADDRESS names, else one that is started here and ends with the search.

    Raises:
        EnvironmentFault: Ray cannot start or be reached.
    """
    journal = Journal(job.place)
    finished = journal.read()
    for report in finished.values():
        emit(report.model_dump())
    waiting = [number for number in range(len(job.points)) if number not in finished]
    if not waiting:
        return
    _start_ray(job)
    try:
        _run_trials(job, waiting, _telling(emit, journal))
    finally:
        import ray

        ray.shutdown()


def _telling(emit: Emit, journal: Journal) -> Callable[[Report], None]:
    def tell(report: Report) -> None:
        if report.over:
            journal.add(report)
        emit(report.model_dump())

    return tell


def _start_ray(job: Job) -> None:
    import ray

    try:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
            return
        ray.init(
            address="local",
            num_cpus=job.config.num_concurrent,
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=job.ray_folder,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_ray(error) from error


def _no_ray(error: Exception) -> EnvironmentFault:
    if address := os.environ.get("RAY_ADDRESS"):
        remedy = "check RAY_ADDRESS, and RAY_AUTH_MODE and RAY_AUTH_TOKEN of that cluster"
        return EnvironmentFault(f"Ray at {address} cannot be reached: {error}", remedy=remedy)
    return EnvironmentFault(f"Ray cannot start: {error}", remedy="set tune.enabled=false to train with the train section's values")


def _run_trials(job: Job, numbers: list[int], tell: Callable[[Report], None]) -> None:
    # After init: Ray's workers import while this does.
    from ray import tune

    path, filesystem = _storage(job)
    tuner = tune.Tuner(
        tune.with_resources(_trainable(job), {"cpu": 1}),
        param_space={"trial": tune.grid_search(numbers)},
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            scheduler=_scheduler(job),
            reuse_actors=True,
            max_concurrent_trials=job.config.num_concurrent,
        ),
        run_config=tune.RunConfig(storage_path=path, storage_filesystem=filesystem, name="search", verbose=0, callbacks=[_reporter(tell)]),
    )
    tuner.fit()


def _storage(job: Job) -> tuple[str, Any]:
    """Where Ray keeps its own records; all machines of a cluster must reach it."""
    if "://" not in job.place:
        return str(Path(job.ray_folder) / "results"), None
    from pyarrow.fs import S3FileSystem

    # Arrow does not read AWS_ENDPOINT_URL; the bucket is part of its paths.
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    scheme, _, host = endpoint.rpartition("://")
    places = {"endpoint_override": host, "scheme": scheme or "https"} if endpoint else {}
    return f"{job.place.partition('://')[2]}/ray", S3FileSystem(**places)


def _trainable(job: Job) -> Any:
    def trainable(config: dict[str, Any]) -> None:
        from ray import tune

        # ASHA compares numbers: a trial that failed reports the worst accuracy there is and is told apart by `failed`.
        run_trial(
            _local(job), config["trial"], lambda report: tune.report({**report.model_dump(), "val_accuracy": report.val_accuracy or 0.0})
        )

    return trainable


def _local(job: Job) -> Job:
    """The job with files of the machine that this runs on, fetched by its first trial."""
    if job.shared is None:
        return job
    staged = StagedJob(*job.shared)
    return fetch(staged, Job, node_folder(staged))


def _scheduler(job: Job) -> Any:
    """ASHA that lets trial 0 finish, so that the untuned accuracy is always that of a whole training."""
    from ray.tune.schedulers import ASHAScheduler

    class Search(ASHAScheduler):
        """Source: Li et al., Massively Parallel Hyperparameter Tuning, arXiv 1810.05934."""

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            decision: str = super().on_trial_result(tune_controller, trial, result)
            spared = trial.config["trial"] == 0 and result["training_iteration"] < job.config.max_epochs
            return self.CONTINUE if spared else decision

    return Search(time_attr="training_iteration", max_t=job.config.max_epochs, grace_period=job.config.grace_epochs, reduction_factor=2)


def _reporter(tell: Callable[[Report], None]) -> Any:
    from ray import tune

    class Reporter(tune.Callback):
        """Hands reports to the process that waits for them."""

        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_info: Any) -> None:  # noqa: ARG002
            tell(_report(result))

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:  # noqa: ARG002
            if trial.last_result:
                tell(_report(trial.last_result).model_copy(update={"over": True}))

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:  # noqa: ARG002
            # Not marked as over: its process ended for a reason that may not come again.
            last = trial.last_result or {}
            reason = str(trial.get_error() or "the trial's process ended")
            tell(Report(trial=trial.config["trial"], epoch=last.get("epoch", 0), val_accuracy=None, val_loss=None, failed=reason))

    return Reporter()


def _report(result: dict[str, Any]) -> Report:
    values = {key: result[key] for key in Report.model_fields}
    return Report(**{**values, "val_accuracy": None if values["failed"] else values["val_accuracy"]})
