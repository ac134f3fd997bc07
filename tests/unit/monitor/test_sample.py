import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from drift_streams import draw, served_lines

from sightline.errors import DataError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.monitor.sample import read_reference, read_served


def write_log(folder: Path, name: str, lines: list[str], end: str = "\n") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines) + end)
    return str(folder)


def test_the_reference_comes_back_as_it_was_written(bundle: ModelBundle) -> None:
    expected = draw(150, np.random.default_rng(1))
    reference = read_reference(bundle)
    assert reference.ids == expected.ids
    assert reference.labels == expected.labels
    np.testing.assert_allclose(reference.embeddings_ND, expected.embeddings_ND, rtol=1e-6)
    np.testing.assert_allclose(reference.properties["contrast"], expected.properties["contrast"])


@pytest.mark.parametrize("flaw", ["column", "rows", "nan"])
def test_a_reference_that_cannot_be_used_is_refused(bundle: ModelBundle, flaw: str) -> None:
    path = bundle.artifact.file("reference.parquet")
    table = pq.read_table(path)
    if flaw == "column":
        table = table.drop_columns(["contrast"])
    elif flaw == "rows":
        table = table.slice(0, 0)
    else:
        table = table.set_column(table.column_names.index("contrast"), "contrast", [[float("nan")] * table.num_rows])
    pq.write_table(table, path)
    with pytest.raises(DataError, match=r"lacks contrast|no rows|not finite"):
        read_reference(bundle)


def test_the_newest_images_of_the_model_are_read_from_all_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    older, newer, other = draw(30, rng), draw(20, rng), draw(7, rng)
    write_log(tmp_path / "log", "a.jsonl", served_lines(newer, "m", start=2000.0))
    write_log(tmp_path / "log", "b.jsonl", served_lines(older, "m", start=1000.0) + served_lines(other, "old-model"))
    log = read_served(str(tmp_path / "log"), model="m", max_images=40)
    assert len(log.sample) == 40
    assert set(newer.ids) <= set(log.sample.ids)
    assert set(log.sample.ids) - set(newer.ids) == set(older.ids[10:])
    assert (log.num_other_model, log.num_repeated) == (7, 0)


def test_an_image_that_was_asked_for_again_counts_once_with_its_newest_answer(tmp_path: Path) -> None:
    sample = draw(5, np.random.default_rng(0))
    lines = served_lines(sample, "m")
    again = {**json.loads(lines[0]), "time": 9000.0, "label": "newest"}
    log = read_served(write_log(tmp_path / "log", "a.jsonl", [*lines, json.dumps(again)]), model="m", max_images=100)
    assert (len(log.sample), log.num_repeated) == (5, 1)
    assert log.sample.labels[log.sample.ids.index(sample.ids[0])] == "newest"


def test_a_torn_last_line_is_skipped_in_each_file(tmp_path: Path) -> None:
    lines = served_lines(draw(5, np.random.default_rng(0)), "m")
    for cut in (1, 10, len(lines[4]) // 2, len(lines[4]) - 1):
        write_log(tmp_path / "log", "a.jsonl", [*lines[:4], lines[4][:cut]], end="")
        write_log(tmp_path / "log", "b.jsonl", [lines[4][:cut]], end="")
        assert len(read_served(str(tmp_path / "log"), model="m", max_images=100).sample) == 4


def test_a_last_line_without_its_newline_counts_when_it_is_whole(tmp_path: Path) -> None:
    lines = served_lines(draw(5, np.random.default_rng(0)), "m")
    assert len(read_served(write_log(tmp_path / "log", "a.jsonl", lines, end=""), model="m", max_images=100).sample) == 5


def test_any_other_bad_line_is_an_error_that_names_them_all(tmp_path: Path) -> None:
    lines = served_lines(draw(6, np.random.default_rng(0)), "m")
    without = {**json.loads(lines[2]), "properties": {"contrast": 1.0}}
    infinite = lines[3].replace('"confidence": ', '"confidence": NaN, "was": ')
    folder = write_log(tmp_path / "log", "a.jsonl", [lines[0][:20], lines[1], json.dumps(without), infinite, lines[4], lines[5]])
    with pytest.raises(DataError) as caught:
        read_served(str(folder), model="m", max_images=100)
    assert [problem.split()[0] for problem in caught.value.problems] == ["a.jsonl:1:", "a.jsonl:3:", "a.jsonl:4:"]


def test_a_whole_last_line_with_wrong_fields_is_an_error_and_not_a_torn_one(tmp_path: Path) -> None:
    lines = served_lines(draw(2, np.random.default_rng(0)), "m")
    with pytest.raises(DataError, match=r"a\.jsonl:3"):
        read_served(write_log(tmp_path / "log", "a.jsonl", [*lines, '{"time": 1}']), model="m", max_images=100)


def test_embeddings_of_different_widths_are_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = served_lines(draw(3, rng), "m") + served_lines(draw(3, rng, num_dims=5), "m")
    with pytest.raises(DataError, match="different widths"):
        read_served(write_log(tmp_path / "log", "a.jsonl", lines), model="m", max_images=100)


def test_an_empty_log_is_an_empty_sample(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    assert len(read_served(str(tmp_path / "log"), model="m", max_images=100).sample) == 0
    (tmp_path / "log" / "a.jsonl").write_bytes(b"")
    assert len(read_served(str(tmp_path / "log"), model="m", max_images=100).sample) == 0


def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        read_served(str(tmp_path / "log"), model="m", max_images=100)
