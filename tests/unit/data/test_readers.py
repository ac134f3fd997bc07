import os
from pathlib import Path

import pytest

from sightline.config.ingest import IngestConfig
from sightline.data.readers import read_source
from sightline.errors import DataError, UsageError


def _folder(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


def _two_classes(root: Path) -> Path:
    return _folder(root, "good/a1.jpg", "good/a2.png", "bad/b1.JPG", "bad/deep/er/b2.tif")


def _read(root: Path, **options):
    return read_source(IngestConfig(source=str(root), **options))


def _problems(root: Path, **options) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        _read(root, **options)
    return caught.value.problems


def test_each_sub_folder_is_a_class_with_everything_below_it(tmp_path):
    source = _read(_two_classes(tmp_path))
    assert [(file.path, file.class_name) for file in source.files] == [
        ("bad/b1.JPG", "bad"),
        ("bad/deep/er/b2.tif", "bad"),
        ("good/a1.jpg", "good"),
        ("good/a2.png", "good"),
    ]
    assert source.classes == ("bad", "good")
    assert source.attributes == ()


def test_hidden_files_and_files_beside_the_classes_are_left_out_silently(tmp_path):
    source = _read(_folder(_two_classes(tmp_path), "readme.txt", "stray.jpg", ".git/x.jpg", "good/.DS_Store", "good/._a1.jpg"))
    assert len(source.files) == 4
    assert source.refusals == ()


def test_things_that_are_no_image_files_are_refused_with_a_reason_and_nothing_hangs(tmp_path):
    root = _folder(_two_classes(tmp_path), "good/notes.txt", "good/folder.jpg/inner.jpg")
    (root / "good/link.jpg").symlink_to(root / "good/a1.jpg")
    (root / "good/dangling.jpg").symlink_to("nowhere")
    (root / "good/loop").symlink_to(root, target_is_directory=True)
    os.mkfifo(root / "good/pipe.jpg")
    source = _read(root)
    assert len(source.files) == 4
    assert {refusal.path: refusal.reason for refusal in source.refusals} == {
        "good/dangling.jpg": "link",
        "good/folder.jpg": "not-a-file",
        "good/link.jpg": "link",
        "good/loop": "link",
        "good/notes.txt": "not-an-image",
        "good/pipe.jpg": "not-a-file",
    }


def test_odd_names_are_read_and_names_that_are_no_text_are_refused(tmp_path):
    root = _folder(_two_classes(tmp_path), "good/new\nline.jpg", "good/☃ 'quoted'.jpg", f"good/{'x' * 250}.jpg")
    (root / os.fsdecode(b"good/\xff\xfe.jpg")).write_bytes(b"x")
    source = _read(root)
    assert len(source.files) == 7
    assert [(refusal.path, refusal.reason) for refusal in source.refusals] == [("good/\\udcff\\udcfe.jpg", "bad-name")]


def test_a_missing_folder_is_a_usage_error_with_a_remedy(tmp_path):
    for source, text in (("", "no data folder"), (str(tmp_path / "none"), "does not exist")):
        with pytest.raises(UsageError, match=text) as caught:
            read_source(IngestConfig(source=source))
        assert "ingest.source" in caught.value.remedy
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        _read(tmp_path / "file")


def test_an_empty_folder_and_a_single_class_are_errors(tmp_path):
    assert _problems(tmp_path) == ("there are no images; expected one sub-folder of images per class",)
    assert "one class only ('good')" in _problems(_folder(tmp_path, "good/a.jpg"))[0]


def test_mask_folders_are_named_and_can_be_excluded(tmp_path):
    root = _folder(_two_classes(tmp_path), "masks/bad/b1.png", "masks/good/a1.png")
    assert _problems(root) == ("folder 'masks' holds sub-folders named like the classes, as masks do; set ingest.exclude to [masks]",)
    assert _read(root, exclude=("masks",)).classes == ("bad", "good")
    assert len(_read(root, exclude=("masks/", "bad/deep")).files) == 3


def test_folders_of_splits_are_told_from_classes(tmp_path):
    root = _folder(tmp_path, "train/good/a.jpg", "train/bad/b.jpg", "val/good/c.jpg", "val/bad/d.jpg")
    assert "train, val look like splits" in _problems(root)[0]


def test_attributes_come_from_the_table_that_lies_in_the_folder(tmp_path):
    root = _two_classes(tmp_path)
    (root / "attributes.csv").write_text(
        "﻿file,lot, light\ngood/a1.jpg,L1 ,dark\nb1.JPG,L2,\n./bad\\deep\\er\\b2.tif,L3,dark\n", encoding="utf-8"
    )
    source = _read(root)
    assert source.attributes == ("lot", "light")
    assert {file.path: dict(file.attributes) for file in source.files} == {
        "good/a1.jpg": {"lot": "L1", "light": "dark"},
        "good/a2.png": {"lot": "unknown", "light": "unknown"},
        "bad/b1.JPG": {"lot": "L2", "light": "unknown"},
        "bad/deep/er/b2.tif": {"lot": "L3", "light": "dark"},
    }


def test_attributes_come_from_file_names(tmp_path):
    root = _folder(tmp_path, "good/exp1_num_7.jpg", "good/other.jpg", "bad/exp2_num_8.jpg")
    source = _read(root, attributes_from_name=r"exp(?P<exposure>\d)_")
    assert [dict(file.attributes) for file in source.files] == [{"exposure": "2"}, {"exposure": "1"}, {"exposure": "unknown"}]


@pytest.mark.parametrize(("pattern", "text"), [("(", "no regular expression"), ("exp", "no named group")])
def test_an_expression_that_cannot_be_used_is_a_usage_error(tmp_path, pattern, text):
    with pytest.raises(UsageError, match=text):
        _read(_two_classes(tmp_path), attributes_from_name=pattern)


def test_every_problem_of_a_table_is_listed_at_once(tmp_path):
    root = _two_classes(tmp_path)
    (root / "attributes.csv").write_text("file,lot\ngood/a1.jpg,L1\ngood/a1.jpg,L2\nnone.jpg,L1\ngood/a2.png\n")
    problems = _problems(root, group_by=("lott",), slices=("camera",))
    assert problems == (
        "attributes.csv, row 2: a second row for 'good/a1.jpg'",
        "attributes.csv, row 3: there is no file 'none.jpg'",
        "attributes.csv, row 4: 1 values, expected 2",
        "ingest.group_by: there is no attribute 'lott'; attributes: lot; did you mean 'lot'?",
        "ingest.slices: there is no attribute 'camera'; attributes: lot",
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"name,lot\nx,1\n", "has no column 'file'; its columns: name, lot"),
        (b"", "has no column 'file'; its columns: none"),
        (b"file,lot,lot\n", "with the same one: 'lot'"),
        (b"file,\n", "columns without a name"),
        (b"file,lot\n\xff\xfe,1\n", "is not UTF-8"),
        (b'file,lot\n"good/a1.jpg"x,1\n', "is not CSV"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path, content, text):
    root = _two_classes(tmp_path)
    (root / "attributes.csv").write_bytes(content)
    assert text in _problems(root)[0]


def test_a_bare_name_that_two_files_have_is_not_guessed(tmp_path):
    root = _folder(tmp_path, "good/a.jpg", "bad/a.jpg")
    (root / "attributes.csv").write_text("file,lot\na.jpg,1\n")
    assert _problems(root) == ("attributes.csv, row 1: there is no file 'a.jpg'",)


def test_rows_for_refused_files_are_no_problem(tmp_path):
    root = _two_classes(tmp_path)
    (root / "good/link.jpg").symlink_to(root / "good/a1.jpg")
    (root / "attributes.csv").write_text("file,lot\ngood/link.jpg,1\n")
    assert len(_read(root).files) == 4


def test_an_attribute_from_two_places_is_a_problem(tmp_path):
    root = _two_classes(tmp_path)
    (root / "attributes.csv").write_text("file,lot\ngood/a1.jpg,1\n")
    assert "attribute 'lot' is both in" in _problems(root, attributes_from_name=r"(?P<lot>\d)")[0]


def test_a_table_that_is_named_but_missing_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"extra\.csv does not exist"):
        _read(_two_classes(tmp_path), attributes="extra.csv")
