"""The tune step: a dataset in, a complete train section out."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sightline.config.cluster import ClusterConfig
from sightline.config.store import StoreConfig
from sightline.config.train import PLACEMENT as TRAIN_PLACEMENT
from sightline.config.train import TrainConfig
from sightline.config.tune import PLACEMENT as TUNE_PLACEMENT
from sightline.config.tune import TuneConfig
from sightline.data.version import DatasetVersion
from sightline.errors import UsageError
from sightline.learn.describe import describe
from sightline.learn.packed import Packed, pack, refuse_golden
from sightline.learn.staging import job_key, job_place, remove_job
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step
from sightline.tune.job import Job, Report, Trial
from sightline.tune.launch import launch
from sightline.tune.search import make_ray_folder
from sightline.tune.space import check_space, draw_points

KIND = "tuned"


_ANY = ClusterConfig()


def run(
    *,
    dataset: str,
    config: TuneConfig,
    train: TrainConfig,
    store: StoreConfig,
    run_id: str,
    output: str,
    cluster: ClusterConfig = _ANY,
) -> StepOutput:
    """``best.json``, a complete train section, and ``trials.json``, what was tried.

    Trials train the network of the train section on a share of train and are judged on val; golden is never read. When the search is
    disabled, the train section is passed on unchanged and nothing is read.

    Args:
        dataset: folder of a dataset artifact.
        config: the tune section.
        train: the train section; its lr, weight_decay and augment are the first trial and are replaced by the best trial's.
        store: where things are kept.
        run_id: the run that this belongs to.
        output: where the artifact is put.
        cluster: where a RayJob is started; unused with the launcher `pod`, and never part of the step's key.

    Raises:
        UsageError: the search space is empty, or every trial diverged.
        DataError: a golden image is in train or val, or the dataset is damaged.
        EnvironmentFault: Ray cannot start, the search took too long, or the cluster cannot do it.
        TemporaryError: its machines were taken away; the next attempt does not repeat the trials that were over.
    """
    run_id = run_name(run_id)
    sections = {
        "tune": config.model_dump(mode="json", exclude=set(TUNE_PLACEMENT)),
        "train": train.model_dump(mode="json", exclude=set(TRAIN_PLACEMENT)),
    }
    if not config.enabled:
        step = Step("tune", KIND, "sightline.tune.step", {}, {"tune": {"enabled": False}, "train": sections["train"]}, config.seed)
        return run_step(step, store=store, run_id=run_id, output=Path(output), work=lambda folder, _progress: _untuned(folder, train))
    check_space(config)
    version = DatasetVersion.open(dataset)
    refuse_golden(version)
    inputs = {split: version.info.digests[split] for split in ("train", "val")}

    step = Step("tune", KIND, "sightline.tune.step", inputs, sections, config.seed)
    places: list[str] = []

    def work(folder: Path, progress: Progress) -> StepResult:
        key = job_key(step)
        places.append(job_place(store.jobs, key))
        progress(f"starting Ray for {config.num_trials} trials")

        def launched(job: Job) -> list[Trial]:
            return launch(job, key, cluster, _Best(config.num_trials, progress), progress)

        trials = _search(version, config, train, places[0], launched)
        best = choose(trials)
        _write(folder, train.model_copy(update=best.model_dump(include={"lr", "weight_decay", "augment"})), trials)
        return _result(trials, best)

    done = run_step(step, store=store, run_id=run_id, output=Path(output), work=work)
    for place in places:
        remove_job(place)  # only now: until the step has committed, an interrupted one goes on from there
    return done


def choose(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest accuracy among those that ran to the end; of equals the first, so the train section's own wins ties.

    Where none ran to the end, those that were stopped count. A trial that failed never does.

    Raises:
        UsageError: every trial failed; names each reason.
    """
    alive = [trial for trial in trials if not trial.failed]
    if not alive:
        reasons = "; ".join(f"trial {trial.trial} (lr {trial.lr:.1e}): {trial.failed}" for trial in trials)
        raise UsageError(f"every trial failed: {reasons}", remedy="lower tune.lr_range and train.lr")
    whole = [trial for trial in alive if not trial.stopped_early] or alive
    return max(whole, key=lambda trial: (trial.val_accuracy or 0.0, -trial.trial))


class _Best:
    """Shows how far the search is."""

    def __init__(self, num_trials: int, progress: Progress) -> None:
        self._num_trials = num_trials
        self._progress = progress
        self._newest = 0
        self._best = 0.0

    def __call__(self, report: Report) -> None:
        self._newest = max(self._newest, report.trial)
        self._best = max(self._best, report.val_accuracy or 0.0)
        self._progress(f"trial {self._newest + 1}/{self._num_trials} · best val {self._best:.2f}")


def _search(
    version: DatasetVersion, config: TuneConfig, train: TrainConfig, place: str, launched: Callable[[Job], list[Trial]]
) -> list[Trial]:
    # Not inside the artifact's folder: Ray's sockets may have at most 107 characters of path.
    folder = make_ray_folder()
    try:
        scratch = folder / "s"
        scratch.mkdir()
        info, preprocessing = describe(version, train)
        job = Job(
            config=config,
            train_config=train,
            points=tuple(draw_points(config, train)),
            info=info,
            preprocessing=preprocessing,
            train=_share(pack(version, "train", scratch), config, scratch),
            val=pack(version, "val", scratch),
            scratch=str(scratch),
            ray_folder=str(folder),
            place=place if "://" in place else str(Path(place).absolute()),
        )
        return launched(job)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _share(packed: Packed, config: TuneConfig, scratch: Path) -> Packed:
    """The part of train that trials see: the same share of every class, at least one image of each."""
    _, labels, _ = packed.read()
    rng = np.random.default_rng(config.seed)
    chosen = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(1, round(config.train_share * len(rows)))])
    path = scratch / "rows-train.npy"
    np.save(path, np.sort(np.concatenate(chosen)))
    return packed.model_copy(update={"rows": str(path)})


def _untuned(folder: Path, train: TrainConfig) -> StepResult:
    _write(folder, train, [])
    return StepResult(headline=f"off · lr {train.lr:.1e}")


def _write(folder: Path, best: TrainConfig, trials: Sequence[Trial]) -> None:
    (folder / "best.json").write_text(best.model_dump_json(indent=1))
    (folder / "trials.json").write_text(json.dumps([trial.model_dump() for trial in trials], indent=1))


def _result(trials: Sequence[Trial], best: Trial) -> StepResult:
    stopped, failed = sum(trial.stopped_early for trial in trials), sum(bool(trial.failed) for trial in trials)
    asides = [f"{num} {word}" for num, word in ((stopped, "stopped early"), (failed, "failed")) if num]
    accuracy, own = best.val_accuracy or 0.0, trials[0].val_accuracy
    headline = f"{len(trials)} trials" + (f" ({', '.join(asides)})" if asides else "")
    headline += f" · best val {accuracy:.3f} at lr {best.lr:.1e} · untuned " + ("failed" if own is None else f"{own:.3f}")
    metrics = {"val/best_accuracy": accuracy, "tune/trials": len(trials), "tune/stopped_early": stopped, "tune/failed": failed}
    return StepResult(headline=headline, metrics=metrics if own is None else metrics | {"val/untuned_accuracy": own})
