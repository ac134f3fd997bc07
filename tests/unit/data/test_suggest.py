from pathlib import Path

import pytest

from sightline.config.ingest import IngestConfig
from sightline.data.readers import read_source
from sightline.data.suggest import suggest


def _folder(root: Path, files: list[str]) -> IngestConfig:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return IngestConfig(source=str(root))


def test_nothing_is_guessed_where_there_is_nothing_to_see(tmp_path):
    config = _folder(tmp_path, [f"{name}/image{number}.jpg" for name in "ab" for number in range(40)])
    assert suggest(config) == config


@pytest.mark.parametrize("name", ["masks", "Ground_Truth", "annotations"])
def test_folders_named_like_answers_are_excluded(tmp_path, name):
    config = _folder(tmp_path, ["a/1.jpg", "b/2.jpg", f"{name}/1.png"])
    assert suggest(config).exclude == (name,)


def test_folders_that_repeat_the_classes_are_excluded(tmp_path):
    config = _folder(tmp_path, ["a/1.jpg", "b/2.jpg", "seg/a/1.png"])
    assert suggest(config).exclude == ("seg",)


def test_a_class_is_not_excluded_when_nothing_would_be_left(tmp_path):
    config = _folder(tmp_path, ["a/1.jpg", "masks/2.jpg"])
    assert suggest(config).exclude == ()


def test_fields_of_file_names_become_attributes_and_groups(tmp_path):
    files = [f"{'ab'[n % 2]}/cam{n % 3}_lot{n % 8}_no{n}.jpg" for n in range(48)]
    config = suggest(_folder(tmp_path, files))
    assert config.group_by == ("lot",)
    source = read_source(config)
    assert source.attributes == ("cam", "lot")
    assert {(file.attributes["cam"], file.attributes["lot"]) for file in source.files} == {(str(n % 3), str(n % 8)) for n in range(48)}


def test_what_is_configured_stays(tmp_path):
    files = [f"{'ab'[n % 2]}/cam{n % 3}_lot{n % 8}.{'jpg' if n < 24 else 'png'}" for n in range(48)]
    given = _folder(tmp_path, files).model_copy(update={"attributes_from_name": r"cam(?P<camera>\d)", "group_by": ("camera",)})
    assert suggest(given) == given
