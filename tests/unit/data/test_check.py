import shutil
from pathlib import Path

import pytest

from sightline.config.ingest import IngestConfig
from sightline.data.check import check, describe
from sightline.data.synthetic import generate
from sightline.errors import DataError

MAGNETIC = Path(__file__).resolve().parents[4] / "shared/data/magnetic-tile"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    generate(root, lots=range(8), images_per_lot=12, flaws=True, num_processes=1)
    return root


def test_the_report_counts_what_was_planted(images):
    report = check(IngestConfig(source=str(images)))
    assert report.num_files == 8 * 12 + 11
    assert report.refused == {"truncated": 2, "empty": 1, "too-large": 1, "unknown-format": 1}
    assert len(report.refused_files) == 5
    assert (report.num_copies, report.num_conflicts) == (3, 2)
    assert sum(report.class_counts.values()) == 8 * 12 + 3
    assert report.formats == {"JPEG": 8 * 12 + 3}
    assert report.num_near_pairs >= 2
    assert report.num_groups == 8 * 12 + 3 - report.num_near_pairs
    assert 0 <= report.num_leaks <= report.num_near_pairs
    assert report.attributes["camera"].keys() == {"A", "B"}
    assert report.suggested.group_by == ("lot",)
    assert any("other label" in warning or "another label" in warning for warning in report.warnings)


def test_the_text_names_every_number(images):
    report = check(IngestConfig(source=str(images)))
    text = describe(report)
    for part in (
        "107, of which 99",
        "3 exact",
        "truncated (2)",
        "flaw-empty.jpg: empty",
        "camera: ",
        "suggested   ingest.group_by: ['lot']",
    ):
        assert part in text


def test_looking_changes_nothing(images):
    before = {path: path.stat().st_mtime_ns for path in images.rglob("*")}
    check(IngestConfig(source=str(images)))
    assert {path: path.stat().st_mtime_ns for path in images.rglob("*")} == before


def test_images_that_all_look_alike_are_warned_about(tmp_path):
    from PIL import Image

    for number in range(30):
        target = tmp_path / ("good" if number % 2 else "bad") / f"{number}.png"
        target.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40 + number, 40), (number, 99, 99)).save(target)
    report = check(IngestConfig(source=str(tmp_path)))
    assert report.largest_group == 30
    assert any("chain 30 of 30 images into one group" in warning for warning in report.warnings)


def test_a_folder_without_usable_images_is_an_error(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").write_bytes(b"text")
    with pytest.raises(DataError, match="no image can be used"):
        check(IngestConfig(source=str(tmp_path)))


@pytest.mark.skipif(not MAGNETIC.is_dir(), reason="the real magnetic-tile photographs are not on this machine")
def test_real_photographs_are_grouped_sanely_and_masks_are_left_out(tmp_path):
    some = [path for path in sorted(MAGNETIC.rglob("*")) if path.is_file() and int(path.stem.rsplit("_", 1)[-1]) < 60_000]
    for path in some:
        target = tmp_path / path.relative_to(MAGNETIC)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    report = check(IngestConfig(source=str(tmp_path)))
    assert report.suggested.exclude == ("masks",)
    assert report.suggested.attributes_from_name == r"(?:^|[_\-. ])exp(?P<exp>\d+)"
    assert report.refused == {}
    assert report.num_leaks > 100
    assert report.largest_group < 25
