import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from sightline.config.cluster import ClusterConfig
from sightline.config.store import StoreConfig
from sightline.config.train import TrainConfig
from sightline.errors import SightlineError
from sightline.learn.describe import describe
from sightline.learn.packed import pack
from sightline.store.objects import open_store
from sightline.train import step
from sightline.train.checkpoints import Checkpoints
from sightline.train.job import Job
from sightline.train.launch import launch
from sightline.train.state_file import read_state
from tests.datasets import tiny_dataset

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
CONFIG = TrainConfig(width=8, epochs=6, batch_size=16, num_processes=2, lr=1e-2)
KEY = "c" * 64


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


def make_job(dataset, scratch, place):
    scratch.mkdir()
    info, preprocessing = describe(dataset, CONFIG)
    images = {"train": pack(dataset, "train", scratch), "val": pack(dataset, "val", scratch)}
    return Job(config=CONFIG, info=info, preprocessing=preprocessing, **images, initial="", scratch=str(scratch), key=KEY, place=str(place))


def train(job, on_epoch=lambda _epoch: None):
    epochs = launch(job, ClusterConfig(), on_epoch, lambda _text: None)
    return (Path(job.scratch) / "weights.safetensors").read_bytes(), epochs


def log(job):
    return (Path(job.scratch) / "child.log").read_text()


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory):
    """Without any checkpoints: the truth."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return train(make_job(dataset, folder / "scratch", folder / "jobs").model_copy(update={"place": ""}))


@pytest.fixture(scope="module")
def interrupted(dataset, tmp_path_factory):
    """The folder of checkpoints that a training leaves whose second process is killed outright when two epochs are done."""
    place = tmp_path_factory.mktemp("interrupted") / "jobs"

    def kill(epoch):
        if epoch.epoch == 2:
            while not (place / "checkpoints/epoch-00002/manifest.json").exists():
                time.sleep(0.01)
            rank_of("1").kill()

    with pytest.raises(SightlineError, match="training"):
        train(make_job(dataset, place.parent / "scratch", place), kill)
    return place


def rank_of(number):
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # other tests of this process may have left one that has ended and is not collected yet
            with_rank = process.environ().get("RANK") == number and "--job" in process.cmdline()
            found += [process] if with_rank else []
    return found[-1]


def newest(place):
    """The epoch of the newest checkpoint; some are left to go on with."""
    epoch = max(int(path.parent.name.removeprefix("epoch-")) for path in place.glob("checkpoints/*/manifest.json"))
    assert 2 <= epoch < CONFIG.epochs
    return epoch


def copied(place, target):
    store, copy = open_store(str(place)), open_store(str(target))
    for key in store.list():
        copy.write(key, store.read(key))
    return target


def test_a_training_whose_process_was_killed_ends_with_the_same_bytes_as_one_that_was_not(dataset, uninterrupted, interrupted, tmp_path):
    job = make_job(dataset, tmp_path / "scratch", copied(interrupted, tmp_path / "jobs"))
    weights, epochs = train(job)
    assert f"training goes on after epoch {newest(interrupted)}\n" in log(job)
    assert weights == uninterrupted[0]
    assert epochs == uninterrupted[1]


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_costs_an_epoch_and_no_byte(dataset, uninterrupted, interrupted, tmp_path):
    place = copied(interrupted, tmp_path / "jobs")
    last = newest(place)
    path = place / f"checkpoints/epoch-{last:05d}/state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    job = make_job(dataset, tmp_path / "scratch", place)
    assert train(job) == uninterrupted
    assert f"the checkpoint of epoch {last} cannot be used" in log(job)
    assert f"training goes on after epoch {last - 1}\n" in log(job)


def test_control_a_resume_that_loses_the_optimisers_moments_is_seen(dataset, uninterrupted, interrupted, tmp_path):
    place = copied(interrupted, tmp_path / "jobs")
    checkpoints = Checkpoints(open_store(str(place)), KEY, tmp_path)
    found = checkpoints.newest()
    state = read_state(found.path)
    for moments in state["optimizer_states"][0]["state"].values():
        moments["exp_avg"] = torch.zeros_like(moments["exp_avg"])
    checkpoints.save(found.epoch, state)
    assert train(make_job(dataset, tmp_path / "scratch", place))[0] != uninterrupted[0]


@pytest.mark.slow
def test_sigterm_ends_the_step_with_143_and_the_next_attempt_goes_on_and_cleans_up(dataset, uninterrupted, tmp_path, monkeypatch):
    places = {name: str(tmp_path / name) for name in ("cache", "registry", "runs", "jobs")}
    store = StoreConfig(**places, tracking="http://127.0.0.1:9")
    arguments = {"dataset": str(dataset.artifact.folder), "tuned": "", "run_id": "r", "output": str(tmp_path / "model")}
    code = (
        "import os\nfrom sightline.config.store import StoreConfig\nfrom sightline.config.train import TrainConfig\n"
        "from sightline.train.step import run\n"
        f"run(**{arguments!r}, config=TrainConfig(**{CONFIG.model_dump()!r}), store=StoreConfig(**{store.model_dump()!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}) as process:
        while not list(tmp_path.glob("jobs/*/checkpoints/epoch-00001/manifest.json")) and process.poll() is None:
            time.sleep(0.02)
        process.terminate()
    assert process.returncode == 143
    logs = []
    monkeypatch.setattr(step, "launch", lambda job, *rest: (launch(job, *rest), logs.append(log(job)))[0])
    done = step.run(**arguments, config=CONFIG, store=store)
    assert done.artifact.file("weights.safetensors").read_bytes() == uninterrupted[0]
    assert "training goes on after epoch" in logs[0]
    assert [path for path in tmp_path.glob("jobs/**/*") if path.is_file()] == []
