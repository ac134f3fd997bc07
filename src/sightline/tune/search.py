"""The search in Ray Tune; runs in a process of its own."""

import logging
from pathlib import Path
from typing import Any

from sightline.errors import EnvironmentFault
from sightline.learn.child import Emit
from sightline.tune.job import Job, Report
from sightline.tune.trial import run_trial

# Ray's smallest; the images travel by memory-mapped file, so it stays empty.
_OBJECT_STORE_BYTES = 80 * 2**20


def search(job: Job, emit: Emit) -> None:
    """Runs all trials, ``num_concurrent`` at a time, and emits each ``Report``; ASHA stops those that fall behind.

    The actors are reused from trial to trial: 18 ms per trial instead of 969. What ASHA stops depends on the order in which concurrent
    trials report: a search repeats its points and each trial's numbers, but not always which trials are stopped.

    Raises:
        EnvironmentFault: Ray cannot start.
    """
    import ray

    try:
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
        raise EnvironmentFault(
            f"Ray cannot start: {error}", remedy="set tune.enabled=false to train with the train section's values"
        ) from error
    try:
        # After init: Ray's workers import while this does.
        from ray import tune

        tuner = tune.Tuner(
            tune.with_resources(_trainable(job), {"cpu": 1}),
            param_space={"trial": tune.grid_search(list(range(len(job.points))))},
            tune_config=tune.TuneConfig(
                metric="val_accuracy",
                mode="max",
                scheduler=_scheduler(job),
                reuse_actors=True,
                max_concurrent_trials=job.config.num_concurrent,
            ),
            run_config=tune.RunConfig(
                storage_path=str(Path(job.ray_folder) / "results"), name="search", verbose=0, callbacks=[_reporter(emit)]
            ),
        )
        tuner.fit()
    finally:
        ray.shutdown()


def _trainable(job: Job) -> Any:
    def trainable(config: dict[str, Any]) -> None:
        from ray import tune

        # ASHA compares numbers: a trial that failed reports the worst accuracy there is and is told apart by `failed`.
        run_trial(job, config["trial"], lambda report: tune.report({**report.model_dump(), "val_accuracy": report.val_accuracy or 0.0}))

    return trainable


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


def _reporter(emit: Emit) -> Any:
    from ray import tune

    class Reporter(tune.Callback):
        """Hands reports to the process that waits for them."""

        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_info: Any) -> None:  # noqa: ARG002
            values = {key: result[key] for key in Report.model_fields}
            emit(Report(**{**values, "val_accuracy": None if values["failed"] else values["val_accuracy"]}).model_dump())

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:  # noqa: ARG002
            last = trial.last_result or {}
            reason = str(trial.get_error() or "the trial's process ended")
            emit(
                Report(
                    trial=trial.config["trial"], epoch=last.get("epoch", 0), val_accuracy=None, val_loss=None, failed=reason
                ).model_dump()
            )

    return Reporter()
