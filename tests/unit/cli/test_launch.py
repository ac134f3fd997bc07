from pathlib import Path

import pytest

from sightline.cli.launch import absolute, point_latest, repository, workplace
from sightline.config.store import StoreConfig
from sightline.errors import EnvironmentFault, UsageError


def test_places_become_absolute_and_addresses_stay():
    store = absolute(StoreConfig(cache="s3://bucket/cache", tracking="sqlite:///runs/m.db"), Path("/base"))
    assert store.cache == "s3://bucket/cache"
    assert store.registry == "/base/runs/registry"
    assert store.tracking == "sqlite:////base/runs/m.db"


def test_what_a_run_writes_here_is_beside_its_records_or_in_a_folder_here_when_they_are_in_a_bucket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert workplace(StoreConfig(runs="/somewhere/runs"), "r1") == Path("/somewhere/runs/r1")
    assert workplace(StoreConfig(runs="s3://bucket/runs"), "r1") == tmp_path / "runs" / "r1"


def test_the_checkout_is_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (repository() / "pipelines" / "retrain.py").is_file()


def test_without_a_checkout_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sightline.cli.launch.importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="checkout"):
        repository()


def test_latest_points_to_the_newest_run_and_never_replaces_a_real_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point_latest(tmp_path / name)
    assert (tmp_path / "latest").resolve() == tmp_path / "two"
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    with pytest.raises(UsageError):
        point_latest(tmp_path / "one")
