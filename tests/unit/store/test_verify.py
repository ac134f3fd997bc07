import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli.app import app
from sightline.errors import DataError, UsageError
from sightline.store.cache import open_cache
from sightline.store.objects import open_store
from sightline.store.verify import delete_step, verify_cache
from tests.s3 import s3_bucket


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as uri:
        yield uri


@pytest.fixture(params=["folder", "s3"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two finished steps, in a folder and on S3."""
    uri = str(tmp_path / "cache") if request.param == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"

    def write(folder: Path) -> dict[str, object]:
        (folder / "file").write_text("content")
        return {"result": {}}

    for key in ("train/one", "train/two"):
        open_cache(uri).obtain(key, "kind", tmp_path / "out" / key, write)
    return uri


def damage(uri: str, key: str) -> None:
    store = open_store(uri)
    name = next(name for name in store.list(f"{key}/") if name.endswith("/file"))
    store.write(name, b"CONTENT")


def test_damaged_steps_are_named_and_sound_ones_are_not(cache: str) -> None:
    assert [checked.problem for checked in verify_cache(cache)] == ["", ""]
    damage(cache, "train/two")
    assert {checked.key: bool(checked.problem) for checked in verify_cache(cache)} == {"train/one": False, "train/two": True}


def test_a_deleted_step_leaves_nothing_and_the_others_alone(cache: str) -> None:
    delete_step(cache, "train/two")
    assert all(name.startswith("train/one/") for name in open_store(cache).list())
    assert [checked.key for checked in verify_cache(cache)] == ["train/one"]


def test_the_command_names_damage_with_exit_code_65_and_deletes_only_when_told_to(cache: str) -> None:
    damage(cache, "train/two")
    runner = CliRunner()
    found = runner.invoke(app, ["verify", "--cache", cache])
    assert isinstance(found.exception, DataError)
    assert "train/two" in str(found.exception)
    done = runner.invoke(app, ["verify", "--cache", cache, "--delete-damaged", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["cache"]["deleted"] == ["train/two"]
    assert runner.invoke(app, ["verify", "--cache", cache]).exit_code == 0


def test_an_address_without_content_is_not_called_sound(cache: str) -> None:
    for option in ("--cache", "--registry"):
        found = CliRunner().invoke(app, ["verify", option, f"{cache}-misspelt"])
        assert isinstance(found.exception, UsageError)
        assert "nothing is kept" in str(found.exception)
