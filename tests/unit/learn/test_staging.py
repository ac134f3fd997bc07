import multiprocessing
import os
import time
from pathlib import Path

import pytest
from pydantic import BaseModel

from sightline.errors import DataError
from sightline.learn.staging import StagedJob, fetch, job_key, job_place, remove_job, stage
from sightline.store.objects import open_store
from sightline.store.steps import Step


class Work(BaseModel):
    name: str
    files: tuple[str, ...]
    nested: dict[str, str]


@pytest.fixture
def work(tmp_path):
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
        paths.append(str(tmp_path / name))
    return Work(name="x", files=tuple(paths), nested={"b": paths[1]})


def test_a_node_finds_the_job_with_files_of_its_own(work, tmp_path):
    staged = stage(work, work.files, str(tmp_path / "jobs/k"))
    found = fetch(staged, Work, tmp_path / "node")
    assert found.name == "x"
    assert [Path(path).read_bytes() for path in found.files] == [b"a" * 1000, b"b" * 1000]
    assert found.nested["b"] == found.files[1]
    assert all(Path(path).parent == tmp_path / "node" for path in found.files)


def test_what_is_in_the_store_is_not_sent_again(work, tmp_path):
    place = str(tmp_path / "jobs/k")
    first = stage(work, work.files, place)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "jobs/k/inputs").iterdir()}
    time.sleep(0.01)
    assert stage(work, work.files, place) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "jobs/k/inputs").iterdir()} == times


def test_an_altered_file_or_job_is_refused(work, tmp_path):
    staged = stage(work, work.files, str(tmp_path / "jobs/k"))
    with pytest.raises(DataError, match="altered"):
        fetch(StagedJob(staged.uri, "0" * 64), Work, tmp_path / "other")
    victim = next((tmp_path / "jobs/k/inputs").iterdir())
    victim.write_bytes(b"z" * 1000)
    with pytest.raises(DataError, match="does not match its SHA-256"):
        fetch(staged, Work, tmp_path / "node")


def test_the_processes_of_a_node_fetch_each_file_once(work, tmp_path):
    staged = stage(work, work.files, str(tmp_path / "jobs/k"))
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        assert pool.starmap(_fetched, [(staged, tmp_path / "node")] * 3) == [2] * 3
    inodes = {path.stat().st_ino for path in (tmp_path / "node").glob("inputs-*") if path.suffix != ".lock"}
    os.utime(tmp_path / "node")
    fetch(staged, Work, tmp_path / "node")
    assert {path.stat().st_ino for path in (tmp_path / "node").glob("inputs-*") if path.suffix != ".lock"} == inodes


def _fetched(staged, folder):
    return len(fetch(staged, Work, folder).files)


def test_a_job_is_removed_with_all_that_it_left(work, tmp_path):
    place = job_place(str(tmp_path / "jobs"), "k" * 64)
    stage(work, work.files, place)
    open_store(place).write("checkpoints/epoch-00001/manifest.json", b"{}")
    remove_job(place)
    remove_job(place)
    assert not Path(place).exists()


def test_the_key_changes_with_everything_that_decides_the_result():
    step = Step("train", "model", "sightline.train.step", {"train": "1"}, {"lr": 1}, 7)
    others = [
        Step("train", "model", "sightline.train.step", {"train": "2"}, {"lr": 1}, 7),
        Step("train", "model", "sightline.train.step", {"train": "1"}, {"lr": 2}, 7),
        Step("train", "model", "sightline.train.step", {"train": "1"}, {"lr": 1}, 8),
        Step("train", "model", "sightline.tune.step", {"train": "1"}, {"lr": 1}, 7),
    ]
    assert job_key(step) == job_key(step)
    assert len({job_key(step), *map(job_key, others)}) == 5
