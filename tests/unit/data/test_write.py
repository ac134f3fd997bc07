import dataclasses
import hashlib

import numpy as np
import pandas as pd

from sightline.data.trees import Refusal
from sightline.data.version import KIND, SPLITS, DatasetVersion
from sightline.data.write import Row, write_version
from sightline.store.artifact import commit_artifact


def _rows(num=9, where="/data"):
    rows = []
    for number in range(num):
        attributes = {"light": "dark" if number % 2 else "bright", "lot": str(number)}
        sample_id = hashlib.sha256(str(number).encode()).hexdigest()
        split = SPLITS[number % 3]
        rows.append(Row(sample_id, f"{where}/{number}.png", 9, "PNG", 4, 4, split, f"g{number}", "ab"[number // 3 % 2], attributes, number))
    return rows


PIXELS = np.random.default_rng(1).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)


def _commit(folder, rows, pixels=PIXELS, slices=("light",)):
    def write(aside):
        write_version(aside, rows, pixels, slices=slices, refusals=[Refusal("x.jpg", "empty", "0 bytes")], source="/data")
        return {}

    return DatasetVersion(commit_artifact(folder, KIND, write))


def test_a_version_reads_back_as_it_was_written(tmp_path):
    rows = _rows()
    dataset = _commit(tmp_path / "v", rows)
    for name in SPLITS:
        split = dataset.split(name)
        expected = sorted((row for row in rows if row.split == name), key=lambda row: row.sample_id)
        assert split.sample_ids == tuple(row.sample_id for row in expected)
        assert split.locations == tuple(row.location for row in expected)
        assert [dataset.info.classes[label] for label in split.labels_N] == [row.class_name for row in expected]
        assert list(split.attributes["light"]) == [row.attributes["light"] for row in expected]
        np.testing.assert_array_equal(split.pixels_NHWC, PIXELS[[row.pixels for row in expected]])
    assert dataset.info.counts == {"train": 3, "val": 3, "golden": 3}
    assert dataset.info.class_counts["train"] == {"a": 2, "b": 1}
    assert dataset.info.attributes == ("light",)
    assert dataset.info.quarantined == {"empty": 1}
    pd.testing.assert_frame_equal(dataset.quarantine, pd.DataFrame({"location": ["x.jpg"], "reason": ["empty"], "detail": ["0 bytes"]}))


def test_the_order_of_rows_and_the_place_of_the_files_do_not_change_the_digests(tmp_path):
    digests = _commit(tmp_path / "a", _rows()).info.digests
    assert _commit(tmp_path / "b", _rows()[::-1]).info.digests == digests
    assert _commit(tmp_path / "c", _rows(where="/elsewhere")).info.digests == digests


def test_each_thing_that_a_split_holds_changes_its_digest_and_no_other(tmp_path):
    base = _commit(tmp_path / "base", _rows()).info.digests
    rows = _rows()
    changed = {
        "label": [dataclasses.replace(rows[0], class_name="b"), *rows[1:]],
        "attribute": [dataclasses.replace(rows[0], attributes={"light": "side", "lot": "0"}), *rows[1:]],
        "sample": [dataclasses.replace(rows[0], sample_id="0" * 64), *rows[1:]],
    }
    for name, altered in changed.items():
        digests = _commit(tmp_path / name, altered).info.digests
        assert {split for split in SPLITS if digests[split] != base[split]} == {"train"}, name
    pixels = PIXELS.copy()
    pixels[1, 0, 0, 0] ^= 1
    digests = _commit(tmp_path / "pixels", rows, pixels).info.digests
    assert {split for split in SPLITS if digests[split] != base[split]} == {"val"}


def test_an_attribute_that_is_no_slice_is_not_part_of_the_digests(tmp_path):
    base = _commit(tmp_path / "base", _rows()).info.digests
    rows = [dataclasses.replace(row, attributes={**row.attributes, "lot": "z"}) for row in _rows()]
    assert _commit(tmp_path / "other", rows).info.digests == base


def test_a_class_is_part_of_every_digest_because_it_moves_the_labels(tmp_path):
    base = _commit(tmp_path / "base", _rows()).info.digests
    rows = _rows()
    digests = _commit(tmp_path / "more", [dataclasses.replace(rows[0], class_name="A"), *rows[1:]]).info.digests
    assert all(digests[split] != base[split] for split in SPLITS)
