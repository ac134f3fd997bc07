"""Ctrl-C in the middle of a step: everything that was started is stopped, nothing listens, finished steps are kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sightline.config.load import dump_config
from sightline.config.run import RunConfig
from sightline.data.synthetic import generate
from sightline.store.records import read_records

SIGHTLINE = [sys.executable, "-c", "from sightline.cli import main; main()"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "parts"
    generate(folder, lots=range(24), images_per_lot=12, seed=3)
    return folder


def records_of(runs):
    return [record for folder in runs.glob("*/steps") for record in read_records(folder)] if runs.is_dir() else []


def wait_for(step, runs, process, *, seconds):
    """Waits until a step is running, then a little longer, so that it has started what it starts."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        if any(record.name == step and record.status == "running" for record in records_of(runs)):
            time.sleep(seconds)
            return
        time.sleep(0.1)
    raise AssertionError(f"{step} did not start")


def ours(marker):
    """Processes that carry the test's mark in their environment: everything that the command started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SIGHTLINE_TEST_MARK") == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.parametrize(("step", "seconds", "number"), [("tune", 9, signal.SIGINT), ("train", 7, signal.SIGTERM)])
def test_an_interrupt_in_a_step_leaves_nothing_running(tmp_path, images, step, seconds, number):
    config = RunConfig.model_validate(
        {
            "ingest": {"source": str(images), "group_by": ["lot"], "min_images_per_class": 5},
            "tune": {"enabled": step == "tune", "num_trials": 4},
            "train": {"epochs": 400},
        }
    )
    (tmp_path / "sightline.yaml").write_text(dump_config(config))
    marker = f"{tmp_path.name}-{os.getpid()}"
    process = subprocess.Popen(
        [*SIGHTLINE, "run", "sightline.yaml"],
        cwd=tmp_path,
        env={**os.environ, "SIGHTLINE_TEST_MARK": marker},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    runs = Path(tmp_path / "runs")
    wait_for(step, runs, process, seconds=seconds)
    started = ours(marker)
    assert len(started) > 3, "the step has not started its processes, so this test shows nothing"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert ours(marker) == []
    assert [record.status for record in records_of(runs) if record.name == "ingest"] == ["done"]
    assert list(runs.glob("store/ingest/*/manifest.json"))
