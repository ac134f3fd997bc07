import logging

import pytest
import torch

from sightline.errors import EnvironmentFault
from sightline.store.objects import open_store
from sightline.train.checkpoints import Checkpoints
from sightline.train.state_file import read_state
from tests.s3 import s3_bucket

JOB = "a" * 64


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "jobs")
    else:
        with s3_bucket() as bucket:
            yield f"{bucket}/jobs"


@pytest.fixture
def checkpoints(place, tmp_path):
    return Checkpoints(open_store(place), JOB, tmp_path)


@pytest.fixture
def said(caplog, monkeypatch):
    logger = logging.getLogger("sightline.train.checkpoints")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    caplog.set_level(logging.WARNING, logger=logger.name)
    return caplog


def state(epoch):
    return {"epoch": epoch, "weights": torch.full((1000,), float(epoch))}


def kept(place):
    return [key for key in open_store(place).list("checkpoints/") if key.endswith("manifest.json")]


def damage(place, key, change):
    store = open_store(place)
    store.write(key, change(store.read(key)))


def flip(data):
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def test_there_is_no_checkpoint_at_first(checkpoints):
    assert checkpoints.newest() is None


def test_the_newest_is_used_and_two_are_kept(checkpoints, place):
    for epoch in (1, 2, 3):
        checkpoints.save(epoch, state(epoch))
    found = checkpoints.newest()
    assert found.epoch == 3
    assert read_state(found.path)["weights"].tolist() == [3.0] * 1000
    assert kept(place) == ["checkpoints/epoch-00002/manifest.json", "checkpoints/epoch-00003/manifest.json"]
    assert len(open_store(place).list()) == 4


@pytest.mark.parametrize("change", [flip, lambda data: data[:500], lambda _: b"", lambda data: bytes(len(data))])
def test_a_damaged_one_is_passed_over_and_said(checkpoints, place, said, change):
    for epoch in (1, 2):
        checkpoints.save(epoch, state(epoch))
    damage(place, "checkpoints/epoch-00002/state.safetensors", change)
    assert checkpoints.newest().epoch == 1
    assert "the checkpoint of epoch 2 cannot be used" in said.text
    checkpoints.save(2, state(2))
    assert checkpoints.newest().epoch == 2


@pytest.mark.parametrize("change", [lambda _: b"{", lambda data: data.replace(b"checkpoint", b"dataset", 1), lambda data: data[:-40]])
def test_a_damaged_manifest_is_passed_over(checkpoints, place, said, change):
    for epoch in (1, 2):
        checkpoints.save(epoch, state(epoch))
    damage(place, "checkpoints/epoch-00002/manifest.json", change)
    assert checkpoints.newest().epoch == 1
    assert "epoch 2" in said.text


def test_a_state_without_its_manifest_is_no_checkpoint(checkpoints, place):
    for epoch in (1, 2):
        checkpoints.save(epoch, state(epoch))
    open_store(place).delete("checkpoints/epoch-00002/manifest.json")
    assert checkpoints.newest().epoch == 1


def test_when_all_are_damaged_training_starts_again(checkpoints, place, said):
    checkpoints.save(1, state(1))
    damage(place, "checkpoints/epoch-00001/state.safetensors", flip)
    assert checkpoints.newest() is None


def test_the_checkpoint_of_another_job_is_never_used(checkpoints, place, tmp_path, said):
    checkpoints.save(1, state(1))
    assert Checkpoints(open_store(place), "b" * 64, tmp_path).newest() is None
    assert "it belongs to another job" in said.text


def test_a_store_that_is_full_costs_the_checkpoint_and_not_the_training(tmp_path, said, monkeypatch):
    checkpoints = Checkpoints(open_store(str(tmp_path / "jobs")), JOB, tmp_path)
    checkpoints.save(1, state(1))

    def full(*_):
        raise EnvironmentFault("no space left")

    monkeypatch.setattr(checkpoints._store, "upload", full)
    checkpoints.try_save(2, state(2))
    assert "there is no checkpoint of epoch 2, training goes on" in said.text
    assert checkpoints.newest().epoch == 1
