"""The train step: a dataset in, a model bundle out."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sightline.config.cluster import ClusterConfig
from sightline.config.store import StoreConfig
from sightline.config.train import PLACEMENT, TrainConfig
from sightline.data.version import DatasetVersion
from sightline.errors import DataError, EnvironmentFault
from sightline.learn.describe import describe
from sightline.learn.packed import pack, refuse_golden
from sightline.learn.staging import job_key, job_place, remove_job
from sightline.models.bundle import TRAINED, BundleInfo, ModelBundle, Preprocessing
from sightline.models.weights import WEIGHTS
from sightline.registry.ledger import Ledger
from sightline.store.artifact import open_artifact
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step
from sightline.train.job import Epoch, Job
from sightline.train.launch import launch
from sightline.train.tracking import TrackedRun, Tracker

_ANY = ClusterConfig()


def run(
    *, dataset: str, tuned: str, config: TrainConfig, store: StoreConfig, run_id: str, output: str, cluster: ClusterConfig = _ANY
) -> StepOutput:
    """A trained bundle: weights of the last epoch, the network's description, its preprocessing and the history of its epochs.

    Only train and val are read. The champion is an input only where training starts from its weights.

    Args:
        dataset: folder of a dataset artifact.
        tuned: folder of a "tuned" artifact, whose parameters replace ``config``; empty: ``config`` as it is.
        config: the train section.
        store: where things are kept; also where the champion and MLflow are.
        run_id: the run that this belongs to.
        output: where the bundle is put.
        cluster: where a TrainJob is started; unused with the launcher `torchrun`, and never part of the step's key.

    Raises:
        DataError: a golden image is in train or val, a split is empty, or the dataset is damaged.
        UsageError: the loss diverged, or the backbone is not known.
        EnvironmentFault: it took too long or was killed, or the cluster cannot do it.
        TemporaryError: its machines were taken away; the next attempt goes on from the last checkpoint.
    """
    run_id = run_name(run_id)
    version = DatasetVersion.open(dataset)
    plan = _plan(version, _resolved(tuned, config), store)
    inputs = plan.info.dataset_digests | {"parent": plan.info.parent}
    resolved = plan.config.model_dump(mode="json", exclude=set(PLACEMENT))
    step = Step("train", TRAINED, "sightline.train.step", inputs, resolved, plan.config.seed)
    places: list[str] = []

    def work(folder: Path, progress: Progress) -> StepResult:
        refuse_golden(version)
        tracker, key = Tracker(store.tracking), job_key(step)
        places.append(job_place(store.jobs, key))
        try:
            epochs = _train(version, plan, _Place(folder, key, places[0]), cluster, progress)
            _write(folder, plan, epochs)
            tracker.log(_tracked(plan, run_id, epochs))
        finally:
            tracker.close()
        return _result(plan, epochs)

    done = run_step(step, store=store, run_id=run_id, output=Path(output), work=work)
    for place in places:
        remove_job(place)  # only now: until the step has committed, an interrupted one goes on from there
    return done


@dataclass(frozen=True)
class _Place:
    folder: Path
    key: str
    job: str


@dataclass(frozen=True)
class _Plan:
    config: TrainConfig
    info: BundleInfo
    preprocessing: Preprocessing
    initial: str = ""


def _resolved(tuned: str, config: TrainConfig) -> TrainConfig:
    if not tuned:
        return config
    best = open_artifact(Path(tuned), "tuned").file("best.json")
    try:
        found = TrainConfig.model_validate_json(best.read_bytes())
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise DataError(f"{best} is not a train section", problems=problems, remedy="run the tune step again") from None
    # The search may be an old one from the cache: where this training runs is said by this run.
    return found.model_copy(update={name: getattr(config, name) for name in PLACEMENT})


def _plan(version: DatasetVersion, config: TrainConfig, store: StoreConfig) -> _Plan:
    """The network to train and where it starts; a warm start has fewer epochs and a lower peak: less to learn, more to lose."""
    info, preprocessing = describe(version, config)
    parent = _parent(info, preprocessing, store) if config.warm_start else None
    if parent is None:
        return _Plan(config, info, preprocessing)
    warm = config.model_copy(update={"epochs": min(config.epochs, config.warm_epochs), "lr": config.lr * config.warm_lr_share})
    weights = str(parent.artifact.file(WEIGHTS).absolute())
    return _Plan(warm, info.model_copy(update={"parent": parent.digest}), preprocessing, weights)


def _parent(info: BundleInfo, preprocessing: Preprocessing, store: StoreConfig) -> ModelBundle | None:
    """The champion, where it is the same network for the same classes and input."""
    champion = Ledger(store.registry).champion()
    if champion is None:
        return None
    bundle = ModelBundle.open(champion.folder)
    same_network = (bundle.info.classes, bundle.info.backbone, bundle.info.width) == (info.classes, info.backbone, info.width)
    return bundle if same_network and bundle.preprocessing == preprocessing else None


def _train(version: DatasetVersion, plan: _Plan, place: _Place, cluster: ClusterConfig, progress: Progress) -> list[Epoch]:
    # Inside the artifact's folder, so that it has the space that the artifact has and goes when that goes.
    scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=place.folder)).absolute()
    try:
        progress(f"starting {plan.config.num_processes * plan.config.num_nodes} training processes")
        job = Job(
            config=plan.config,
            info=plan.info,
            preprocessing=plan.preprocessing,
            train=pack(version, "train", scratch),
            val=pack(version, "val", scratch),
            initial=plan.initial,
            scratch=str(scratch),
            key=place.key,
            place=place.job if "://" in place.job else str(Path(place.job).absolute()),
        )

        def on_epoch(epoch: Epoch) -> None:
            progress(f"epoch {epoch.epoch}/{plan.config.epochs} · val {epoch.val_accuracy:.2f}")

        epochs = launch(job, cluster, on_epoch, progress)
        if len(epochs) != plan.config.epochs or not (scratch / WEIGHTS).is_file():
            raise EnvironmentFault(
                f"training ended after {len(epochs)} of {plan.config.epochs} epochs without weights", remedy="run the step again"
            )
        (scratch / WEIGHTS).rename(place.folder / WEIGHTS)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return epochs


def _write(folder: Path, plan: _Plan, epochs: list[Epoch]) -> None:
    (folder / "model.json").write_text(plan.info.model_dump_json(indent=1))
    (folder / "preprocessing.json").write_text(plan.preprocessing.model_dump_json(indent=1))
    (folder / "history.json").write_text(json.dumps([epoch.model_dump() for epoch in epochs], indent=1))


def _tracked(plan: _Plan, run_id: str, epochs: list[Epoch]) -> TrackedRun:
    tags = {f"sightline.dataset.{split}": digest for split, digest in plan.info.dataset_digests.items()}
    tags |= {"sightline.run_id": run_id, "sightline.parent": plan.info.parent}
    return TrackedRun(name=f"train {run_id}", tags=tags, params=plan.config.model_dump(mode="json"), epochs=epochs)


def _result(plan: _Plan, epochs: list[Epoch]) -> StepResult:
    last = epochs[-1]
    start = f" · warm start from {plan.info.parent[:8]}" if plan.info.parent else ""
    num = plan.config.num_processes * plan.config.num_nodes
    headline = f"{len(epochs)} epochs · {num} processes · val {last.val_accuracy:.3f}{start}"
    metrics = {
        "val/accuracy": last.val_accuracy,
        "val/loss": last.val_loss,
        "train/loss": last.train_loss,
        "train/epochs": float(len(epochs)),
    }
    return StepResult(headline=headline, metrics=metrics)
