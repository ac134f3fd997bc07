"""Bad input and a bad machine: one message with the remedy, exit code 2 or 65, nothing lost. Through the real command."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIGHTLINE = [sys.executable, "-c", "from sightline.cli import main; main()"]


def sightline(*arguments, cwd):
    return subprocess.run([*SIGHTLINE, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


def make_images(folder, classes=("good", "bad"), num=40):
    rng = np.random.default_rng(5)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(num):
            pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((48, 48)).save(folder / name / f"{name}-{index:03}.jpg", quality=92)
    return folder


def configure(folder, images, extra=""):
    path = folder / "sightline.yaml"
    path.write_text(f"ingest: {{source: {images}, min_images_per_class: 5}}\ntune: {{enabled: false}}\n{extra}")
    return path


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_explained(done, *words, code):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("sightline: ") == 1
    assert "remedy:" in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_missing_folder_is_named(tmp_path):
    config = configure(tmp_path, tmp_path / "nowhere")
    assert_explained(sightline("run", config, cwd=tmp_path), "nowhere", code=2)
    assert_explained(sightline("data", "check", tmp_path / "nowhere", cwd=tmp_path), "nowhere", code=2)
    assert_explained(sightline("init", "--data", tmp_path / "nowhere", cwd=tmp_path), "nowhere", code=2)


def test_an_empty_folder_is_bad_data(tmp_path):
    (tmp_path / "images").mkdir()
    assert_explained(sightline("run", configure(tmp_path, tmp_path / "images"), cwd=tmp_path), "images", code=65)
    assert_explained(sightline("data", "check", tmp_path / "images", cwd=tmp_path), "images", code=65)


def test_a_single_class_is_bad_data(tmp_path):
    images = make_images(tmp_path / "images", classes=("good",))
    done = sightline("run", configure(tmp_path, images), cwd=tmp_path)
    assert_explained(done, "class", code=65)


def test_unreadable_and_empty_files_are_listed_with_their_reasons_and_left_where_they_are(tmp_path):
    images = make_images(tmp_path / "images")
    for index in range(8):
        (images / "good" / f"empty-{index}.jpg").write_bytes(b"")
        (images / "bad" / f"text-{index}.jpg").write_text("not an image")
    before = contents(images)
    done = sightline("run", configure(tmp_path, images), cwd=tmp_path)
    assert_explained(done, "empty", "unknown-format", "max_quarantine_share", code=65)
    assert contents(images) == before


def test_an_unknown_key_is_answered_with_the_near_one(tmp_path):
    config = configure(tmp_path, tmp_path, "trian: {epochs: 3}\n")
    assert_explained(sightline("run", config, cwd=tmp_path), "did you mean `train`", code=2)


def test_fewer_images_than_a_split_needs_is_bad_data_that_says_how_many(tmp_path):
    images = make_images(tmp_path / "images", num=3)
    assert_explained(sightline("run", configure(tmp_path, images), cwd=tmp_path), "good", code=65)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="a small file system can be mounted by root only")
def test_a_full_disk_is_explained_and_finished_steps_are_kept(tmp_path):
    images = make_images(tmp_path / "images", num=400)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("this container may not mount a tmpfs")
    try:
        (small / "kept").write_text("kept")
        config = configure(tmp_path, images, f"store: {{cache: {small}/store, runs: {small}/runs, registry: {small}/registry}}\n")
        done = sightline("run", config, cwd=tmp_path)
        assert_explained(done, "No space left", code=2)
        assert (small / "kept").read_text() == "kept"
        assert not list(Path(small).glob("store/ingest/*/manifest.json"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "sightline.serve", "--bundle", str(tmp_path), "--port", str(port)],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert "remedy:" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_scenario_is_a_usage_error(tmp_path):
    assert_explained(sightline("demo", "--scenario", "bad-modle", cwd=tmp_path), "bad-model", code=2)


def test_a_workspace_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    images = make_images(tmp_path / "images", num=8)
    done = sightline("run", configure(tmp_path, images), cwd=tmp_path)
    assert_explained(done, "runs", code=2)
    assert (tmp_path / "runs").read_text() == "in the way"
