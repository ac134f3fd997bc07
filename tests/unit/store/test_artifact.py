import errno
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import DataError, EnvironmentFault
from sightline.store import artifact as artifact_module
from sightline.store.artifact import MANIFEST, Artifact, commit_artifact, materialise, open_artifact, write_file

_SPAWN = multiprocessing.get_context("forkserver")


def writes(content: bytes = b"content", **fields: Any) -> Callable[[Path], Mapping[str, Any]]:
    def write(folder: Path) -> Mapping[str, Any]:
        (folder / "nested").mkdir()
        (folder / "a.bin").write_bytes(content)
        (folder / "nested" / "b.bin").write_bytes(content * 2)
        return fields

    return write


@pytest.fixture
def committed(tmp_path: Path) -> Artifact:
    return commit_artifact(tmp_path / "store" / "one", "thing", writes(inputs={"x": "1"}, result={"outcome": "pass"}))


def test_a_committed_folder_is_read_back_whole(committed: Artifact) -> None:
    again = open_artifact(committed.folder, "thing")
    assert again.digest == committed.digest
    assert [entry.path for entry in again.manifest.files] == ["a.bin", "nested/b.bin"]
    assert again.file("nested/b.bin").read_bytes() == b"contentcontent"
    assert list(committed.folder.parent.iterdir()) == [committed.folder], "nothing is left beside it"


def test_the_digest_is_that_of_the_content_alone(tmp_path: Path, committed: Artifact) -> None:
    same = commit_artifact(tmp_path / "two", "thing", writes(inputs={"x": "2"}, code="other"))
    other = commit_artifact(tmp_path / "three", "thing", writes(b"different"))
    assert same.digest == committed.digest != other.digest
    assert commit_artifact(tmp_path / "four", "kind", writes()).digest != committed.digest


def test_committing_again_returns_what_is_there_without_work(committed: Artifact) -> None:
    def never(_: Path) -> Mapping[str, Any]:
        raise AssertionError

    assert commit_artifact(committed.folder, "thing", never).digest == committed.digest


@pytest.mark.parametrize("flaw", ["flipped", "shorter", "missing", "same size"])
def test_a_damaged_file_is_named(committed: Artifact, flaw: str) -> None:
    path = committed.folder / "nested" / "b.bin"
    data = path.read_bytes()
    if flaw == "missing":
        path.unlink()
    else:
        path.write_bytes({"flipped": bytes([data[0] ^ 1]) + data[1:], "shorter": data[:-1], "same size": b"x" * len(data)}[flaw])
    with pytest.raises(DataError, match=r"nested/b\.bin"):
        open_artifact(committed.folder, "thing")


def test_every_flipped_bit_of_the_manifest_is_detected(committed: Artifact) -> None:
    path = committed.folder / MANIFEST
    original = path.read_bytes()
    for position in range(len(original)):
        path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
        with pytest.raises(DataError):
            open_artifact(committed.folder, "thing")


def test_an_outcome_that_was_edited_is_detected(committed: Artifact) -> None:
    path = committed.folder / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["result"]["outcome"] = "fail"
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError):
        open_artifact(committed.folder, "thing")


@pytest.mark.parametrize("make", ["nothing", "file", "folder"])
def test_what_is_not_a_finished_artifact_is_a_data_error(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x"
    if make == "file":
        path.write_text("x")
    elif make == "folder":
        path.mkdir()
    with pytest.raises(DataError, match="not a finished artifact"):
        open_artifact(path, "thing")


def test_another_kind_is_refused(committed: Artifact) -> None:
    with pytest.raises(DataError, match="is a 'thing', expected dataset or model"):
        open_artifact(committed.folder, ("dataset", "model"))


def test_a_file_outside_the_manifest_cannot_be_asked_for(committed: Artifact) -> None:
    (committed.folder / "extra").write_text("x")
    with pytest.raises(DataError, match="no file 'extra'"):
        committed.file("extra")


def test_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> Mapping[str, Any]:
        (folder / "half").write_text("x")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        commit_artifact(tmp_path / "store" / "x", "thing", fail)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_copy_of_another_artifact_may_be_part_of_a_new_one(tmp_path: Path, committed: Artifact) -> None:
    def extend(folder: Path) -> Mapping[str, Any]:
        shutil.copytree(committed.folder, folder, dirs_exist_ok=True)
        (folder / "more").write_text("x")
        return {}

    extended = commit_artifact(tmp_path / "extended", "thing", extend)
    assert [entry.path for entry in extended.manifest.files] == ["a.bin", "more", "nested/b.bin"]


def test_a_wreck_in_the_place_of_an_artifact_is_explained(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "left over").write_text("x")
    with pytest.raises(DataError, match=r"x .*no manifest\.json"):
        commit_artifact(tmp_path / "x", "thing", writes())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(EnvironmentFault, match="cannot write to"):
        commit_artifact(tmp_path / "store" / "x", "thing", writes())
    assert list((tmp_path / "store").iterdir()) == []


def test_a_full_disk_while_an_artifact_is_handed_over_is_explained(
    tmp_path: Path, committed: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.link", fail)
    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(EnvironmentFault, match="cannot write to"):
        materialise(committed, tmp_path / "out")


def test_the_output_of_a_step_is_replaced_as_a_whole(tmp_path: Path, committed: Artifact) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    materialise(committed, tmp_path / "out")
    assert open_artifact(tmp_path / "out", "thing").digest == committed.digest
    assert not (tmp_path / "out" / "old").exists()


def test_an_output_on_another_file_system_is_copied(tmp_path: Path, committed: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr("os.link", fail)
    materialise(committed, tmp_path / "out")
    assert open_artifact(tmp_path / "out", "thing").digest == committed.digest


def _commit(folder: str, number: int, start: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue[str]") -> None:
    start.wait()
    results.put(commit_artifact(Path(folder), "thing", writes(b"%d" % number)).digest)


def test_processes_that_commit_one_key_at_once_agree_on_the_result(tmp_path: Path) -> None:
    start, results = _SPAWN.Barrier(4), _SPAWN.Queue()
    processes = [_SPAWN.Process(target=_commit, args=(str(tmp_path / "store" / "x"), number, start, results)) for number in range(4)]
    for process in processes:
        process.start()
    digests = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert digests == {open_artifact(tmp_path / "store" / "x", "thing").digest}
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["x"]


def _commit_for_ever(root: str, first: int) -> None:
    for number in range(first, 10**9):
        commit_artifact(Path(root) / f"key-{number}", "thing", writes(os.urandom(20_000)))


def test_a_writer_killed_at_any_moment_leaves_whole_artifacts_or_none(tmp_path: Path) -> None:
    num_seen = 0
    for attempt in range(6):
        process = _SPAWN.Process(target=_commit_for_ever, args=(str(tmp_path), 1000 * attempt))
        process.start()
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(f"key-{attempt * 1000}")) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.004 * attempt)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        for folder in tmp_path.glob("key-*"):
            open_artifact(folder, "thing")
            num_seen += 1
    assert num_seen >= 6


def test_negative_control_writing_in_place_is_caught_by_the_same_check(tmp_path: Path, committed: Artifact) -> None:
    shutil.copytree(committed.folder, tmp_path / "in-place")
    with (tmp_path / "in-place" / "a.bin").open("r+b") as file:
        file.truncate(3)
    with pytest.raises(DataError):
        open_artifact(tmp_path / "in-place", "thing")


def test_a_file_is_replaced_whole_by_any_number_of_threads(tmp_path: Path) -> None:
    path, failures = tmp_path / "record.json", []

    def write(number: int) -> None:
        try:
            for _ in range(30):
                write_file(path, b"%d" % number * 500)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_bytes() in {b"%d" % number * 500 for number in range(4)}
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_is_durable_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real, rename = os.fsync, Path.rename
    monkeypatch.setattr("os.fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink().name), real(fd)))
    monkeypatch.setattr(Path, "rename", lambda self, target: (synced.append("rename"), rename(self, target)))
    commit_artifact(tmp_path / "store" / "x", "thing", writes())
    before, after = synced[: synced.index("rename")], synced[synced.index("rename") :]
    assert {"a.bin", "b.bin", MANIFEST, "nested"} <= set(before)
    assert any(name.startswith(".x.") for name in before)
    assert "store" in after
    assert artifact_module.MANIFEST == MANIFEST
