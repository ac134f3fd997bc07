import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sightline.data.surfaces import CLASSES
from sightline.data.synthetic import Mislabel, generate, lot_name, material_of, read_table
from sightline.errors import UsageError
from sightline.images import ImageRefusedError, decode, image_properties


def _digests(root: Path) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.glob("*/*"))}


def _properties(root: Path) -> dict[str, float]:
    values = [image_properties(decode(path.read_bytes())) for path in sorted(root.glob("*/*.jpg"))]
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


def test_a_lot_is_real_jpegs_in_class_folders_with_a_row_for_each(tmp_path):
    assert generate(tmp_path, lots=[3], num_processes=1) == 20
    with (tmp_path / "attributes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "lot", "material", "lighting", "camera", "lamp", "blur", "exposure"]
    assert sorted(row["file"] for row in rows) == sorted(_digests(tmp_path))
    assert {row["lot"] for row in rows} == {"L0003"}
    assert {decode((tmp_path / row["file"]).read_bytes()).shape for row in rows} == {(96, 96, 3)}
    assert {row["file"].split("/")[0] for row in rows} == set(CLASSES)


def test_the_same_numbers_give_the_same_bytes_in_any_number_of_processes(tmp_path):
    generate(tmp_path / "one", lots=range(24), images_per_lot=2, num_processes=1)
    generate(tmp_path / "two", lots=range(24), images_per_lot=2, num_processes=2)
    generate(tmp_path / "other", lots=range(24), images_per_lot=2, seed=8, num_processes=1)
    one = _digests(tmp_path / "one")
    assert one == _digests(tmp_path / "two")
    assert not set(one.values()) & set(_digests(tmp_path / "other").values())
    assert (tmp_path / "one/attributes.csv").read_bytes() == (tmp_path / "two/attributes.csv").read_bytes()


def test_more_lots_leave_the_files_and_rows_that_are_there_alone(tmp_path):
    generate(tmp_path, lots=[5, 6], images_per_lot=4, num_processes=1)
    before, table = _digests(tmp_path), (tmp_path / "attributes.csv").read_text()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert generate(tmp_path, lots=[2, 5], images_per_lot=6, lamp_age=0.0, num_processes=1) == 6 + 2
    after = _digests(tmp_path)
    assert before.items() <= after.items()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (tmp_path / "attributes.csv").read_text().startswith(table)


def test_a_second_call_makes_nothing(tmp_path):
    assert generate(tmp_path, lots=[1], images_per_lot=12, flaws=True, num_processes=1) == 12 + 11
    before = _digests(tmp_path)
    table = (tmp_path / "attributes.csv").read_bytes()
    assert generate(tmp_path, lots=[1], images_per_lot=12, flaws=True, num_processes=1) == 0
    assert _digests(tmp_path) == before
    assert (tmp_path / "attributes.csv").read_bytes() == table


def test_a_file_that_was_lost_is_made_again(tmp_path):
    generate(tmp_path, lots=[1], images_per_lot=4, num_processes=1)
    before = _digests(tmp_path)
    (tmp_path / next(iter(before))).unlink()
    assert generate(tmp_path, lots=[1], images_per_lot=4, num_processes=1) == 1
    assert _digests(tmp_path) == before


def test_twenty_four_lots_in_a_row_show_every_combination_once(tmp_path):
    generate(tmp_path, lots=range(7, 31), images_per_lot=1, num_processes=1)
    rows = read_table(tmp_path / "attributes.csv").values()
    assert len({(row["material"], row["lighting"], row["camera"]) for row in rows}) == 24
    assert all(row["material"] == material_of(int(row["lot"][1:])) for row in rows)


def test_an_aged_lamp_is_darker_yellower_and_noted(tmp_path):
    generate(tmp_path / "new", lots=range(0, 24, 5), images_per_lot=6, num_processes=1)
    generate(tmp_path / "aged", lots=range(0, 24, 5), images_per_lot=6, lamp_age=1.0, num_processes=1)
    new, aged = _properties(tmp_path / "new"), _properties(tmp_path / "aged")
    assert aged["brightness"] < 0.8 * new["brightness"]
    assert aged["saturation"] > new["saturation"]
    assert {row["lamp"] for row in read_table(tmp_path / "aged/attributes.csv").values()} == {"aged"}


def test_a_lot_that_is_there_with_another_lamp_is_refused(tmp_path):
    generate(tmp_path, lots=[1], images_per_lot=2, num_processes=1)
    with pytest.raises(UsageError, match="already there"):
        generate(tmp_path, lots=[1], images_per_lot=2, lamp_age=0.5, num_processes=1)


def test_wrong_labels_only_change_the_folder_and_only_of_the_chosen_lots(tmp_path):
    lots = [0, 1, 4]
    assert [material_of(lot) for lot in lots] == ["steel", "brass", "steel"]
    generate(tmp_path / "right", lots=lots, num_processes=1)
    generate(tmp_path / "wrong", lots=lots, num_processes=1, mislabel=Mislabel(lots=frozenset({1, 4}), material="brass"))
    right, wrong = _digests(tmp_path / "right"), _digests(tmp_path / "wrong")
    assert sorted(right.values()) == sorted(wrong.values())
    names = {digest: name.split("/")[0] for name, digest in wrong.items()}
    moved = Counter(name.split("/")[1][:5] for name, digest in right.items() if names[digest] != name.split("/")[0])
    assert moved == {lot_name(1): 20}


def test_a_share_of_wrong_labels_is_a_share(tmp_path):
    generate(tmp_path / "right", lots=[0], images_per_lot=100, num_processes=1)
    generate(tmp_path / "wrong", lots=[0], images_per_lot=100, num_processes=1, mislabel=Mislabel(frozenset({0}), share=0.5))
    assert 30 <= len(set(_digests(tmp_path / "right")) - set(_digests(tmp_path / "wrong"))) <= 70


def test_flaws_are_what_their_names_say(tmp_path):
    generate(tmp_path, lots=[0, 1], images_per_lot=12, flaws=True, num_processes=1)
    refused = {}
    for path in sorted(tmp_path.glob("*/*flaw*")):
        try:
            decode(path.read_bytes())
        except ImageRefusedError as error:
            refused[path.name[6:]] = error.reason
    assert refused == {
        "flaw-bomb.png": "too-large",
        "flaw-empty.jpg": "empty",
        "flaw-text.jpg": "unknown-format",
        "flaw-truncated-1.jpg": "truncated",
        "flaw-truncated-2.jpg": "truncated",
    }
    copies = Counter(_digests(tmp_path).values())
    assert sorted(copies.values(), reverse=True)[:4] == [2, 2, 2, 1]
    table = read_table(tmp_path / "attributes.csv")
    assert {row["lot"] for name, row in table.items() if "near" in name} == {"L0001"}
    assert max(path.stat().st_size for path in tmp_path.glob("*/*")) < 20_000
    assert all((tmp_path / name).is_file() for name in table)


@pytest.mark.parametrize("options", [{"lots": []}, {"lots": [-1]}, {"lots": [1], "images_per_lot": 0}, {"lots": [1], "lamp_age": 1.5}])
def test_values_out_of_range_are_usage_errors(tmp_path, options):
    with pytest.raises(UsageError):
        generate(tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()
