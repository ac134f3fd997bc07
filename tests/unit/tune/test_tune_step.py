import json
from pathlib import Path

import pytest

from sightline.config.store import StoreConfig
from sightline.config.train import TrainConfig
from sightline.config.tune import TuneConfig
from sightline.errors import DataError, UsageError
from sightline.learn import child as child_module
from sightline.learn.describe import describe
from sightline.learn.packed import pack
from sightline.store import code
from sightline.tune.job import Job, Trial
from sightline.tune.space import Point
from sightline.tune.step import choose, run
from sightline.tune.trial import run_trial
from tests.datasets import tiny_dataset

TRAIN = TrainConfig(width=8, batch_size=16, lr=5e-3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


@pytest.fixture
def store(tmp_path):
    return StoreConfig(**{name: str(tmp_path / name) for name in ("cache", "registry", "runs", "jobs")}, tracking="")


def trial(number: int, accuracy: float | None, *, stopped: bool = False, failed: str = "") -> Trial:
    point = {"lr": 1e-3, "weight_decay": 1e-3, "augment": 0.5}
    return Trial(trial=number, **point, epochs=2, val_accuracy=accuracy, stopped_early=stopped, failed=failed)


def test_the_best_trial_that_ran_to_the_end_wins_and_of_equals_the_untuned_one():
    assert choose([trial(0, 0.8), trial(1, 0.9), trial(2, 0.95, stopped=True)]).trial == 1
    assert choose([trial(0, 0.9), trial(1, 0.9)]).trial == 0
    assert choose([trial(0, None, failed="nan"), trial(1, 0.3, stopped=True), trial(2, 0.4, stopped=True)]).trial == 2


def test_a_failed_trial_never_wins_and_when_all_failed_that_is_an_error():
    assert choose([trial(0, 0.1), trial(1, None, failed="the loss became nan")]).trial == 0
    with pytest.raises(UsageError, match=r"every trial failed: trial 0 .*the loss became nan"):
        choose([trial(0, None, failed="the loss became nan")])


def test_a_trial_is_repeatable_and_a_diverging_one_reports_its_failure(dataset, tmp_path):
    info, preprocessing = describe(dataset, TRAIN)
    points = tuple(Point(lr=lr, weight_decay=1e-3, augment=0.5) for lr in (5e-3, 1e30))
    places = {"train": pack(dataset, "train", tmp_path), "val": pack(dataset, "val", tmp_path), "scratch": str(tmp_path), "ray_folder": ""}
    config = TuneConfig(max_epochs=2)
    job = Job(config=config, train_config=TRAIN, points=points, info=info, preprocessing=preprocessing, **places)
    runs = []
    for number in (0, 0, 1):
        runs.append([])
        run_trial(job, number, runs[-1].append)
    assert runs[0] == runs[1]
    assert [report.epoch for report in runs[0]] == [1, 2]
    assert runs[2][-1].failed.startswith("the loss became")
    assert runs[2][-1].val_accuracy is None


def test_disabled_passes_the_train_section_on(dataset, store, tmp_path):
    result = run(dataset="", config=TuneConfig(enabled=False), train=TRAIN, store=store, run_id="r", output=str(tmp_path / "out"))
    assert TrainConfig.model_validate_json(result.artifact.file("best.json").read_bytes()) == TRAIN
    assert json.loads(result.artifact.file("trials.json").read_bytes()) == []


def test_a_wrong_space_or_a_leak_stops_before_ray_starts(dataset, store, tmp_path, monkeypatch):
    monkeypatch.setattr("sightline.tune.step.launch", lambda *_args: pytest.fail("Ray was started"))
    places = {"store": store, "run_id": "r", "output": str(tmp_path / "out")}
    with pytest.raises(UsageError, match=r"tune\.lr_range"):
        run(dataset=str(dataset.artifact.folder), config=TuneConfig(lr_range=(1, 0.5)), train=TRAIN, **places)
    leaky = tiny_dataset(tmp_path / "leaky", leak=1)
    with pytest.raises(DataError, match="golden"):
        run(dataset=str(leaky.artifact.folder), config=TuneConfig(), train=TRAIN, **places)


def test_a_search_finds_parameters_and_leaves_no_process_and_no_folder(dataset, store, tmp_path, monkeypatch):
    markers, folders = [], []
    end = child_module._end
    monkeypatch.setattr(child_module, "_end", lambda process, marker: (markers.append(marker), end(process, marker)))
    monkeypatch.setattr("sightline.tune.step.launch", _remembering(folders))
    config = TuneConfig(num_trials=3, max_epochs=2, grace_epochs=1, lr_range=(1e-3, 1e-2))
    result = run(dataset=str(dataset.artifact.folder), config=config, train=TRAIN, store=store, run_id="r", output=str(tmp_path / "out"))
    trials = [Trial.model_validate(line) for line in json.loads(result.artifact.file("trials.json").read_bytes())]
    best = TrainConfig.model_validate_json(result.artifact.file("best.json").read_bytes())
    assert [trial.trial for trial in trials] == [0, 1, 2]
    assert trials[0].lr == TRAIN.lr
    assert trials[0].epochs == 2, "the untuned trial always runs to the end"
    assert best.lr in {trial.lr for trial in trials}
    assert best.model_copy(update={"lr": TRAIN.lr, "weight_decay": TRAIN.weight_decay, "augment": TRAIN.augment}) == TRAIN
    assert "untuned" in result.result.headline
    assert child_module._marked(markers[0]) == []
    assert not Path(folders[0]).exists()


def _remembering(folders):
    from sightline.tune.launch import launch

    def remember(job, *rest):
        folders.append(job.ray_folder)
        return launch(job, *rest)

    return remember


def test_the_code_that_the_search_runs_is_part_of_the_key(monkeypatch):
    read = []
    original = code._read
    monkeypatch.setattr(code, "_read", lambda name, path: (read.append("/".join(path.parts[-2:])), original(name, path))[1])
    code.code_digest("sightline.tune.step")
    assert {"tune/__main__.py", "tune/search.py", "tune/trial.py", "learn/augment.py", "models/network.py"} <= set(read)
    assert not any(path.startswith(("train/", "gate/", "compile/")) for path in read)
