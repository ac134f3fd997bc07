import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from sightline.config.ingest import IngestConfig
from sightline.config.store import StoreConfig
from sightline.data.duplicates import difference_hash
from sightline.data.splits import split_of
from sightline.data.synthetic import generate, lot_name
from sightline.data.version import SPLITS, DatasetVersion
from sightline.errors import DataError, SightlineError, UsageError
from sightline.images import decode, resize
from sightline.ingest.step import run
from sightline.registry.golden import frozen_ids
from sightline.store.digest import sha256_bytes
from sightline.store.records import read_records

LOTS = range(24)
PER_LOT = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    generate(root, lots=LOTS, images_per_lot=PER_LOT, num_processes=1)
    return root


@pytest.fixture
def images(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "images"))


class _Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = StoreConfig(cache=str(folder / "cache"), registry=str(folder / "registry"), runs=str(folder / "runs"))
        self.count = 0

    def run(self, source: Path, **options):
        self.count += 1
        config = IngestConfig(source=str(source), **{"group_by": ("lot",), "min_images_per_class": 2, **options})
        output = self.folder / f"out-{self.count}"
        result = run(config=config, store=self.store, run_id=f"run-{self.count}", output=str(output))
        return result, DatasetVersion.open(output)

    def record(self):
        return read_records(self.folder / "runs" / f"run-{self.count}" / "steps")[-1]

    def fails(self, source: Path, **options) -> SightlineError:
        with pytest.raises(SightlineError) as caught:
            self.run(source, **options)
        record = self.record()
        assert record.status == "failed"
        assert record.exit_code == caught.value.exit_code
        assert caught.value.message.splitlines()[0] in record.error
        return caught.value


@pytest.fixture
def place(tmp_path):
    return _Place(tmp_path)


def _splits(dataset: DatasetVersion) -> dict[str, str]:
    return dict(zip(dataset.samples["sample_id"], dataset.samples["split"], strict=True))


def _first(dataset: DatasetVersion, split: str) -> Path:
    return Path(dataset.split(split).locations[0])


def test_the_version_holds_every_image_as_training_will_see_it(images, place):
    result, dataset = place.run(images)
    assert len(dataset.samples) == len(LOTS) * PER_LOT
    assert result.result.headline == f"{len(LOTS) * PER_LOT} images · 5 classes · {dataset.info.counts['golden']} golden · 0 quarantined"
    for name in SPLITS:
        split = dataset.split(name)
        for index, location in enumerate(split.locations):
            data = Path(location).read_bytes()
            assert sha256_bytes(data) == split.sample_ids[index]
            assert dataset.info.classes[split.labels_N[index]] == Path(location).parent.name
            np.testing.assert_array_equal(split.pixels_NHWC[index], resize(decode(data), 64))
    assert set(dataset.info.attributes) == {"material", "lighting", "camera", "blur", "exposure"}
    assert {path.name for path in dataset.artifact.folder.iterdir()} == {
        *(f"pixels-{name}.npy" for name in SPLITS),
        "dataset.json",
        "manifest.json",
        "quarantine.parquet",
        "samples.parquet",
    }


def test_lots_go_where_split_of_says(images, place):
    config = IngestConfig(group_by=("lot",))
    for row in place.run(images)[1].samples.itertuples():
        assert row.split == split_of(Path(row.location).name[:5], config)
        assert row.group_id == Path(row.location).name[:5].lower()


def test_the_same_data_again_is_a_cache_hit_although_the_registry_grew(images, place):
    first, _ = place.run(images)
    assert not place.record().cached
    second, _ = place.run(images)
    assert place.record().cached
    assert second.artifact.digest == first.artifact.digest


def test_an_interrupted_freeze_is_made_up_for_by_the_next_run(images, place):
    _, dataset = place.run(images)
    shutil.rmtree(place.folder / "registry")
    place.run(images)
    assert place.record().cached
    assert frozen_ids(place.store.registry, "golden") == set(dataset.split("golden").sample_ids)


def test_a_changed_file_a_new_file_and_a_changed_table_are_cache_misses(images, place):
    place.run(images)
    generate(images, lots=[30], images_per_lot=2, num_processes=1)
    place.run(images)
    assert not place.record().cached
    table = images / "attributes.csv"
    table.write_text(table.read_text().replace("brass", "bronze"))
    place.run(images)
    assert not place.record().cached


def test_the_same_images_elsewhere_have_the_same_digests_and_their_new_places(images, place, tmp_path):
    _, before = place.run(images)
    moved = images.rename(tmp_path / "moved")
    _, after = place.run(moved)
    assert after.info.digests == before.info.digests
    assert all(location.startswith(str(moved)) for location in after.samples["location"])


def test_later_images_leave_every_earlier_one_in_its_split(images, place):
    _, before = place.run(images)
    generate(images, lots=range(40, 48), images_per_lot=PER_LOT, num_processes=1)
    _, after = place.run(images)
    assert _splits(before).items() <= _splits(after).items()
    assert set(frozen_ids(place.store.registry, "golden")) == set(after.split("golden").sample_ids)
    assert after.info.counts["golden"] > before.info.counts["golden"]


def test_other_shares_move_training_images_and_never_a_golden_one(images, place):
    _, before = place.run(images)
    _, after = place.run(images, split_salt="another", golden_share=0.2)
    golden = set(before.split("golden").sample_ids)
    assert golden <= set(after.split("golden").sample_ids)
    moved = {sample for sample, split in _splits(before).items() if _splits(after)[sample] != split}
    assert moved
    assert not moved & golden


def test_a_missing_and_an_altered_golden_file_stop_the_step_by_name(images, place):
    _, dataset = place.run(images)
    missing, altered = (Path(location) for location in dataset.split("golden").locations[:2])
    missing.unlink()
    altered.write_bytes(altered.read_bytes() + b"\0")
    table = images / "attributes.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if missing.name not in line))
    error = place.fails(images)
    assert isinstance(error, DataError)
    expected = {f"{missing.relative_to(images).as_posix()}: missing", f"{altered.relative_to(images).as_posix()}: altered"}
    assert set(error.problems) == expected
    assert "golden set changed: 2 of" in error.message


def test_a_golden_file_may_be_renamed(images, place):
    _, dataset = place.run(images)
    old = _first(dataset, "golden")
    old.rename(old.with_name("renamed.jpg"))
    table = images / "attributes.csv"
    table.write_text(table.read_text().replace(old.name, "renamed.jpg"))
    _, after = place.run(images)
    assert after.info.digests == dataset.info.digests


def test_a_golden_image_whose_label_is_contradicted_stops_the_step(images, place):
    _, dataset = place.run(images)
    golden = _first(dataset, "golden")
    other = next(name for name in dataset.info.classes if name != golden.parent.name)
    shutil.copy(golden, images / other / "contradiction.jpg")
    error = place.fails(images)
    assert error.problems == (f"{golden.relative_to(images).as_posix()}: refused",)


def test_a_removed_training_image_is_no_problem(images, place):
    _, dataset = place.run(images)
    gone = _first(dataset, "train")
    gone.unlink()
    table = images / "attributes.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if gone.name not in line))
    assert len(place.run(images)[1].samples) == len(dataset.samples) - 1


def test_planted_flaws_are_quarantined_with_their_reasons(tmp_path, place):
    generate(tmp_path / "flawed", lots=LOTS, images_per_lot=12, flaws=True, num_processes=1)
    _, dataset = place.run(tmp_path / "flawed")
    counts = dict(dataset.info.quarantined)
    near = counts.pop("leaks-golden", 0) + counts.pop("leaks-val", 0)
    assert counts == {"truncated": 2, "duplicate": 2, "conflicting-label": 2, "empty": 1, "too-large": 1, "unknown-format": 1}
    assert near <= 3
    assert len(dataset.quarantine) == 9 + near
    assert len(dataset.samples) + len(dataset.quarantine) == len(LOTS) * 12 + 11


def test_no_near_copy_faces_its_original_in_another_split(tmp_path, place):
    generate(tmp_path / "flawed", lots=LOTS, images_per_lot=12, flaws=True, num_processes=1)
    for options in ({"group_by": ()}, {}):
        samples = place.run(tmp_path / "flawed", **options)[1].samples
        hashes = np.stack([difference_hash(decode(Path(location).read_bytes())) for location in samples["location"]])
        near = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2) <= 12
        splits = samples["split"].to_numpy()
        assert near.sum() > len(samples) or options == {}
        assert not (near & (splits[:, None] != splits[None])).any()
        shutil.rmtree(place.folder / "registry")


def test_the_copy_that_was_used_before_stays_in_use(images, place):
    _, dataset = place.run(images)
    original = _first(dataset, "train")
    # "0…" sorts before every other name, and the lot is one of another split.
    shutil.copy(original, original.with_name("0-copy.jpg"))
    golden_lot = next(lot_name(lot) for lot in LOTS if split_of(lot_name(lot), IngestConfig()) == "golden")
    with (images / "attributes.csv").open("a", newline="") as file:
        csv.writer(file).writerow([f"{original.parent.name}/0-copy.jpg", golden_lot, "steel", "side", "A", "new", "sharp", "normal"])
    _, after = place.run(images)
    assert _splits(after) == _splits(dataset)
    assert list(after.quarantine["location"]) == [f"{original.parent.name}/0-copy.jpg"]


def test_an_image_without_a_group_is_refused_when_groups_are_declared(images, place):
    table = images / "attributes.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    _, dataset = place.run(images)
    assert list(dataset.quarantine["reason"]) == ["no-group"]
    assert "lot" in dataset.quarantine["detail"][0]


def test_too_many_refused_files_stop_the_step_with_reasons_and_counts(images, place):
    for number in range(10):
        (images / "good" / f"bad-{number}.jpg").write_bytes(b"text %d" % number if number else b"")
    error = place.fails(images)
    assert "10 of 154 files are refused" in error.message
    assert [problem.split(" (")[0] for problem in error.problems] == ["unknown-format: 9", "empty: 1"]
    assert place.run(images, max_quarantine_share=0.1)[1].info.quarantined == {"unknown-format": 9, "empty": 1}


def test_exact_copies_do_not_count_as_damage(images, place):
    for path in sorted(images.glob("good/L*.jpg")):
        shutil.copy(path, path.with_name(f"z-{path.name}"))
    assert set(place.run(images)[1].info.quarantined) == {"duplicate"}


def test_slices_are_those_configured_else_attributes_with_two_to_twelve_values(images, place):
    assert place.run(images, slices=("camera", "lamp"))[1].info.attributes == ("camera", "lamp")
    chosen = place.run(images)[1].info.attributes
    assert "lot" not in chosen
    assert "lamp" not in chosen


def test_problems_before_the_work_are_recorded_like_any_other(tmp_path, images, place):
    assert isinstance(place.fails(tmp_path / "none"), UsageError)
    error = place.fails(images, group_by=("lott",))
    assert "did you mean 'lot'?" in error.problems[0]
    assert not list(place.folder.glob("out-*"))


def test_a_pipe_among_the_images_does_not_hang(images, place):
    import os

    os.mkfifo(images / "good" / "pipe.jpg")
    _, dataset = place.run(images)
    assert list(dataset.quarantine["reason"]) == ["not-a-file"]
