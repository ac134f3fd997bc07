"""Starts a pipeline on this machine and waits for it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import EnvironmentFault, TemporaryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sightline.cli.display import Display
    from sightline.config.store import StoreConfig
    from sightline.store.records import StepRecord

_REMOTE_LOOK_EVERY_S = 5.0

# Nothing calls home, and no library prints progress bars into the log.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TQDM_DISABLE": "1",
    "PYTHONUNBUFFERED": "1",
}


def run_pipeline(name: str, arguments: Mapping[str, object], *, store: StoreConfig, run_id: str, display: Display) -> list[StepRecord]:
    """The records of the steps of a pipeline that ran to its end.

    Args:
        name: retrain or monitor.
        arguments: the pipeline's parameters besides ``run_id`` and ``store``.
        store: absolute places.
        run_id: the run's name.
        display: where the steps are shown.

    Raises:
        EnvironmentFault: the disk is full.
        Interrupted: the person stopped it; everything started is gone.
    """
    from sightline.cli.supervise import supervise
    from sightline.store.artifact import disk_faults_explained, write_file
    from sightline.store.records import read_records

    folder, steps = workplace(store, run_id), f"{store.runs}/{run_id}/steps"
    arguments_file = folder / "arguments.json"
    with disk_faults_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(arguments_file, json.dumps({**arguments, "run_id": run_id, "store": store.model_dump(mode="json")}, indent=1).encode())
        supervise(
            [sys.executable, "-m", "pipelines", "run", name, "--arguments", str(arguments_file), "--folder", str(folder)],
            environment=QUIET,
            folder=repository(),
            log=folder / "log.txt",
            on_tick=_showing(display, steps),
        )
    display.update(steps)
    return read_records(steps)


def workplace(store: StoreConfig, run_id: str) -> Path:
    """The folder for a run's arguments and log: that of its records, or ``runs/<run id>`` here when the records are on S3."""
    return Path("runs", run_id).absolute() if "://" in store.runs else Path(store.runs) / run_id


def _showing(display: Display, steps: str) -> Callable[[], None]:
    """Shows the steps as they change; a bucket is looked at less often than a folder."""
    every_s = _REMOTE_LOOK_EVERY_S if "://" in steps else 0.0
    due = time.monotonic()

    def show() -> None:
        nonlocal due
        if time.monotonic() >= due:
            with contextlib.suppress(TemporaryError):  # a bucket that does not answer now hides progress, and stops nothing
                display.update(steps)
            due = time.monotonic() + every_s

    return show


def repository() -> Path:
    """The checkout that holds `pipelines/` and `components/`: the working directory's, else the one that this package was installed from.

    Raises:
        EnvironmentFault: there is none.
    """
    package = importlib.util.find_spec("sightline")
    origin = Path(package.origin).resolve() if package and package.origin else Path.cwd()
    for folder in (Path.cwd(), *Path.cwd().parents, *origin.parents):
        if (folder / "pipelines" / "retrain.py").is_file() and (folder / "components").is_dir():
            return folder
    raise EnvironmentFault("the pipelines/ and components/ folders were not found", remedy="run this inside a checkout of Sightline")


def absolute(store: StoreConfig, base: Path | None = None) -> StoreConfig:
    """The same places, absolute, because each step runs in a process of its own; ``s3://`` and ``http(s)://`` stay as they are."""
    from sightline.config.store import StoreConfig

    root = base or Path.cwd()
    places = {key: value if "://" in value else str(root / value) for key, value in store.model_dump().items()}
    if places["tracking"].startswith("sqlite:///"):
        places["tracking"] = "sqlite:///" + str(root / places["tracking"].removeprefix("sqlite:///"))
    return StoreConfig(**places)


def new_run_id() -> str:
    """A name that sorts by time and is not used twice by one machine."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def point_latest(folder: Path) -> None:
    """Makes ``latest`` beside the folder point to it."""
    link = folder.parent / "latest"
    if link.exists() and not link.is_symlink():
        raise UsageError(f"{link} is in the way: it is not a link that Sightline made", remedy="move it away")
    aside = folder.parent / f".latest.{os.getpid()}"
    aside.unlink(missing_ok=True)
    aside.symlink_to(folder.name)
    aside.replace(link)
