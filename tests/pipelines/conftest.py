"""A small real run: generated images, real training, real servers, through kfp.local."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.cli.display import Display
from sightline.cli.launch import run_pipeline
from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.data.synthetic import generate
from sightline.store.records import StepRecord

Run = Callable[..., list[StepRecord]]


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "parts"
    generate(folder, lots=range(20), images_per_lot=12, seed=3)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def store(tmp_path, cache) -> StoreConfig:
    return StoreConfig(
        cache=str(cache), registry=str(tmp_path / "registry"), runs=str(tmp_path / "runs"), tracking=f"sqlite:///{tmp_path}/mlflow.db"
    )


@pytest.fixture
def retrain(store, monkeypatch) -> Run:
    def run(config: RunConfig, run_id: str = "run", library: Path | None = None, registry: str = "registry") -> list[StepRecord]:
        if library is not None:
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(library), *filter(None, [os.environ.get("PYTHONPATH")])]))
        sections = ("ingest", "tune", "train", "gate", "compile", "deploy")
        arguments = {section: getattr(config, section).model_dump(mode="json", exclude_none=True) for section in sections}
        place = store.model_copy(update={"registry": str(Path(store.runs).parent / registry)})
        records = run_pipeline("retrain", arguments, store=place, run_id=run_id, display=Display(io.StringIO()))
        if not records:
            sys.stderr.write((Path(store.runs) / run_id / "log.txt").read_text())
        return records

    return run
