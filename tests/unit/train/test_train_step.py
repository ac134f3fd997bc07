import json
import os
import sys

import numpy as np
import pytest

from sightline.config.train import TrainConfig
from sightline.errors import DataError, UsageError
from sightline.learn import child as child_module
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import EAGER, load_predictor
from sightline.store import code
from sightline.store.artifact import commit_artifact
from sightline.train.step import run
from tests.datasets import tiny_dataset

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
CONFIG = TrainConfig(width=8, epochs=8, batch_size=16, num_processes=2, lr=1e-2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


@pytest.fixture(scope="module")
def trained(dataset, store, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "model"
    return run(dataset=str(dataset.artifact.folder), tuned="", config=CONFIG, store=store, run_id="first", output=str(output))


def test_two_processes_train_a_bundle_that_is_whole_and_has_learnt(trained):
    bundle = ModelBundle.open(trained.artifact.folder)
    assert {entry.path for entry in bundle.artifact.manifest.files} == {
        "weights.safetensors",
        "model.json",
        "preprocessing.json",
        "history.json",
    }
    assert bundle.info.embedding_dim == 128
    assert trained.result.metrics["val/accuracy"] > 0.6
    assert "2 processes" in trained.result.headline


def test_the_reported_accuracy_is_that_of_the_eager_runtime(trained, dataset):
    split = dataset.split("val")
    bundle = ModelBundle.open(trained.artifact.folder)
    probabilities = load_predictor(bundle, EAGER).predict(split.pixels_NHWC).probabilities_NC
    accuracy = float((probabilities.argmax(axis=1) == split.labels_N).mean())
    assert accuracy == pytest.approx(trained.result.metrics["val/accuracy"], abs=1e-12)
    loss = -np.log(probabilities[np.arange(len(split)), split.labels_N]).mean()
    assert loss == pytest.approx(trained.result.metrics["val/loss"], rel=1e-3)


def test_the_history_has_every_epoch_and_no_times(trained):
    history = json.loads(trained.artifact.file("history.json").read_text())
    assert [epoch["epoch"] for epoch in history] == list(range(1, CONFIG.epochs + 1))
    assert set(history[0]) == {"epoch", "train_loss", "val_loss", "val_accuracy", "lr"}


def test_the_training_is_in_mlflow_with_its_parameters_and_every_epoch(trained, store):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store.tracking)
    experiment = client.get_experiment_by_name("sightline")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["lr"] == "0.01"
    assert found.data.tags["sightline.run_id"] == "first"
    assert len(client.get_metric_history(found.info.run_id, "val/accuracy")) == CONFIG.epochs


def test_the_same_step_is_not_trained_again(trained, dataset, store, tmp_path):
    again = run(dataset=str(dataset.artifact.folder), tuned="", config=CONFIG, store=store, run_id="second", output=str(tmp_path / "m"))
    assert again.artifact.digest == trained.artifact.digest


def test_this_process_never_imports_lightning(trained):
    assert "pytorch_lightning" not in sys.modules


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_with_two_processes(trained, dataset, store, tmp_path):
    elsewhere = store.model_copy(update={"cache": str(tmp_path / "cache")})
    again = run(dataset=str(dataset.artifact.folder), tuned="", config=CONFIG, store=elsewhere, run_id="third", output=str(tmp_path / "m"))
    assert again.artifact.digest == trained.artifact.digest


def test_one_process_needs_no_torchrun_and_repeats_its_bytes(dataset, store, tmp_path):
    digests = []
    for name in ("a", "b"):
        places = store.model_copy(update={"cache": str(tmp_path / name), "tracking": "http://127.0.0.1:9"})
        config = CONFIG.model_copy(update={"num_processes": 1, "epochs": 1})
        result = run(
            dataset=str(dataset.artifact.folder), tuned="", config=config, store=places, run_id=name, output=str(tmp_path / f"m{name}")
        )
        digests.append(result.artifact.digest)
    assert digests[0] == digests[1]


def test_a_warm_start_begins_at_the_champion_and_names_it(trained, dataset, store, tmp_path, caplog):
    from sightline.registry.ledger import Ledger

    places = store.model_copy(update={"registry": str(tmp_path / "registry"), "tracking": "http://127.0.0.1:9"})
    champion = ModelBundle.open(trained.artifact.folder)
    Ledger(places.registry).promote(champion, expected_generation=0, run_id="first", verdict_digest="0" * 64)
    config = CONFIG.model_copy(update={"num_processes": 1, "warm_epochs": 1})
    warm = run(dataset=str(dataset.artifact.folder), tuned="", config=config, store=places, run_id="warm", output=str(tmp_path / "m"))
    assert ModelBundle.open(warm.artifact.folder).info.parent == champion.digest
    assert warm.result.metrics["train/epochs"] == 1
    # One epoch from scratch leaves this network at the loss of a guess, 1.1.
    assert json.loads(warm.artifact.file("history.json").read_text())[0]["train_loss"] < 0.9
    assert "MLflow at http://127.0.0.1:9 did not take the run" in caplog.text


def test_a_diverging_training_names_its_step_and_leaves_nothing(dataset, store, tmp_path, monkeypatch):
    markers = []
    original = child_module._end
    monkeypatch.setattr(child_module, "_end", lambda process, marker: (markers.append(marker), original(process, marker)))
    config = CONFIG.model_copy(update={"lr": 1e30, "num_processes": 1})
    with pytest.raises(UsageError, match=r"the loss became \w+ in step \d+ of epoch \d+(?s:.*)lower train.lr"):
        run(dataset=str(dataset.artifact.folder), tuned="", config=config, store=store, run_id="bad", output=str(tmp_path / "m"))
    assert child_module._marked(markers[0]) == []
    assert not (tmp_path / "m").exists()
    assert [path.name for path in (os.scandir(f"{store.cache}/train")) if path.name.startswith(".")] == []


def test_golden_images_in_train_stop_before_any_training(store, tmp_path):
    leaky = tiny_dataset(tmp_path / "d", leak=1)
    with pytest.raises(DataError, match="golden images must never be trained on"):
        run(dataset=str(leaky.artifact.folder), tuned="", config=CONFIG, store=store, run_id="leak", output=str(tmp_path / "m"))


def test_a_tuned_artifact_replaces_the_train_section(dataset, store, tmp_path):
    def write(folder):
        (folder / "best.json").write_text('{"lr": -1}')
        return {}

    commit_artifact(tmp_path / "tuned", "tuned", write)
    with pytest.raises(DataError, match=r"best\.json"):
        run(
            dataset=str(dataset.artifact.folder),
            tuned=str(tmp_path / "tuned"),
            config=CONFIG,
            store=store,
            run_id="t",
            output=str(tmp_path / "m"),
        )


def test_the_code_that_the_training_processes_run_is_part_of_the_key(monkeypatch):
    read = []
    original = code._read
    monkeypatch.setattr(code, "_read", lambda name, path: (read.append("/".join(path.parts[-2:])), original(name, path))[1])
    code.code_digest("sightline.train.step")
    assert {"train/__main__.py", "train/fit.py", "train/module.py", "train/datamodule.py", "learn/augment.py", "models/network.py"} <= set(
        read
    )
    assert not any(path.startswith(("tune/", "gate/", "compile/")) for path in read)
