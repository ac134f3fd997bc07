from pathlib import Path

import pandas as pd
import pytest

from sightline.errors import DataError
from sightline.evaluate.verdict import Check, Verdict, write_verdict
from sightline.gate.explain import MAX_IMAGES, describe, explain
from sightline.store.artifact import commit_artifact
from tests.unit.gate.rich_verdict import paired, rich_verdict, waived_verdict

PREDICTIONS = pd.DataFrame(
    {
        "sample_id": ["a" * 64, "b" * 64, "c" * 64, "d" * 64],
        "label": ["Crack", "Free", "Free", "Free"],
        "candidate": ["Free", None, "Free", "Crack"],
        "candidate_confidence": [0.97, 0.0, 0.9, 0.8],
        "champion": ["Crack", "Free", "Free", "Crack"],
        "champion_confidence": [0.9, 0.9, 0.9, 0.9],
    }
)


def commit(folder: Path, verdict: Verdict, **tables: pd.DataFrame) -> Path:
    def write(aside):
        write_verdict(aside, verdict)
        for name, table in tables.items():
            table.to_parquet(aside / f"{name}.parquet", index=False)
        return {}

    return commit_artifact(folder, "verdict", write).folder


def _text(folder: Path, width: int = 100) -> str:
    return describe(explain(folder), width)


def test_the_explanation_begins_with_the_sentence_and_lists_what_blocks_with_numbers(tmp_path):
    text = _text(commit(tmp_path / "v", rich_verdict(), predictions=PREDICTIONS))
    assert text.startswith("✗ FAIL · gate (compiled) · classification · 1342 golden images\n\nThe new model must not ship")
    assert "✗ material=brass: 61.2 % against 89.1 % · −27.9 pts [−34.0, −22.0] · 340 images" in text
    assert "   320  material=steel" in text
    assert "12 → 61    Crack taken for Free" in text
    assert "a/<img>.jpg: Free instead of Crack" in text


def test_only_images_that_the_champion_had_right_are_newly_broken(tmp_path):
    explanation = explain(commit(tmp_path / "v", rich_verdict(), predictions=PREDICTIONS))
    assert [(image.image, image.candidate) for image in explanation.images] == [("a" * 12, "Free"), ("b" * 12, "")]
    text = describe(explanation)
    assert "Crack taken for Free (97 % sure)" in text
    assert "no valid answer for Free" in text
    assert "Newly broken (the first 2 of 104)" in text


def test_files_are_named_where_the_gate_recorded_them(tmp_path):
    folder = commit(tmp_path / "v", rich_verdict(), predictions=PREDICTIONS.assign(location=[f"parts/{i}.jpg" for i in range(4)]))
    assert [image.image for image in explain(folder).images] == ["parts/0.jpg", "parts/1.jpg"]


def test_paths_are_shown_without_what_all_golden_images_begin_with(tmp_path):
    files = ["s3://data/parts/crack/0.jpg", "s3://data/parts/free/1.jpg", "s3://data/parts/free/10.jpg", "s3://data/parts/fray/3.jpg"]
    explanation = explain(commit(tmp_path / "v", rich_verdict(), predictions=PREDICTIONS.assign(location=files)))
    assert explanation.folder == "s3://data/parts/"
    assert explanation.images[0].image == files[0]
    text = describe(explanation)
    assert "Newly broken (the first 2 of 104), in s3://data/parts/\n  crack/0.jpg  Crack taken for Free" in text
    flat = explain(
        commit(tmp_path / "w", rich_verdict(), predictions=PREDICTIONS.assign(location=["10.jpg", "11.jpg", "12.jpg", "13.jpg"]))
    )
    assert flat.folder == ""


def test_eight_that_block_are_shown_and_the_rest_is_counted(tmp_path):
    slices = [paired(f"site={i}", "slice", slice=f"site={i}", value=0.8, outcome="fail") for i in range(11)]
    cross = paired("light=dim & site=1", "slice", slice="light=dim & site=1", value=0.5, outcome="fail")
    explanation = explain(commit(tmp_path / "v", rich_verdict(checks=[cross, *slices])))
    assert len(explanation.blocking) == 12
    lines = describe(explanation, 140).splitlines()
    blocks = lines[lines.index("What blocks") + 1 : lines.index("Slices, worst first") - 1]
    assert len(blocks) == 9
    assert blocks[0] == "  ✗ site=0: 80.0 % against 90.0 % · −10.0 pts [−13.0, −7.0] · 400 images · no regression shown"
    assert blocks[-1] == "  … and 4 more, 1 of them parts of failing slices"


def test_slices_without_intervals_are_listed_without_an_axis(tmp_path):
    slices = [paired(f"site={i}", "slice", slice=f"site={i}", value=0.8, interval=None) for i in range(3)]
    text = _text(commit(tmp_path / "v", rich_verdict(checks=[paired("overall", "overall"), *slices])))
    assert "Slices, worst first\n  ✓ site=0   −10.0 pts  n=400" in text


def test_a_discovered_slice_says_what_it_explains(tmp_path):
    found = paired("dark", "discovered-slice", slice="dark", value=0.7, required=False, outcome="info", num_broken=8)
    verdict = rich_verdict(checks=[paired("overall", "overall"), found], flips={"num_broken": 30, "num_fixed": 1})
    text = _text(commit(tmp_path / "v", verdict), 140)
    assert "Weak slices that nobody declared\n  · dark: 70.0 % against 90.0 %" in text
    assert "explains at least 8 of the 30 newly broken images" in text


def test_a_first_model_is_told_its_mistakes(tmp_path):
    check = Check(name="overall", kind="overall", required=True, outcome="pass", num_images=4, value=0.25, estimate=0.25)
    first = PREDICTIONS.assign(champion=pd.array([None] * 4, dtype="string"))
    verdict = rich_verdict(checks=[check], champion="none", flips={"num_broken": 0, "num_fixed": 0}, errors=(), cases=())
    explanation = explain(commit(tmp_path / "v", verdict, predictions=first))
    assert (len(explanation.images), explanation.has_reference) == (3, False)
    assert "Mistakes (3)" in describe(explanation)


def test_a_detector_explains_its_flips_and_good_ones_are_left_out(tmp_path):
    check = paired("overall", "overall", metric="AP", reference=0.563, value=0.512, outcome="fail", margin=0.03)
    rows = [(f"{i}.jpg", "material=brass", kind, "Blowhole", "0.7 → 0.1") for i, kind in enumerate(["missed", "found", "spurious"] * 10)]
    flips = pd.DataFrame(rows, columns=["location", "slice", "kind", "label", "detail"])
    verdict = rich_verdict(task="detection", metric="AP", checks=[check], cases=(), errors=(), flips={"num_broken": 20, "num_fixed": 10})
    explanation = explain(commit(tmp_path / "v", verdict, flips=flips))
    assert len(explanation.images) == MAX_IMAGES
    text = describe(explanation, 120)
    assert "✗ overall: AP 0.512 against 0.563 · −5.1 pts" in text
    assert "0.jpg  missed · Blowhole · material=brass · 0.7 → 0.1" in text
    assert "found" not in text
    assert "the first 12 of 20" in text


def test_a_verdict_without_predictions_is_explained_without_images(tmp_path):
    explanation = explain(commit(tmp_path / "v", rich_verdict()))
    assert explanation.images == ()
    assert "Newly broken" not in describe(explanation)


def test_waived_checks_are_under_a_heading_that_says_they_do_not_pass(tmp_path):
    text = _text(commit(tmp_path / "v", waived_verdict()))
    assert text.startswith("~ PASS BY OVERRIDE")
    assert "Override by Ada <Lovelace> until 2026-01-31, for material=brass" in text
    part = text[text.index("Waived; these do not pass") :]
    assert part.splitlines()[1].startswith("  ~ material=brass: 61.2 %")
    assert "✓ material=brass" not in text


def test_bars_line_up_and_the_worst_slice_is_on_top(tmp_path):
    text = _text(commit(tmp_path / "v", rich_verdict()))
    part = text[text.index("Slices, worst first") :].splitlines()
    axis, rows = part[1], part[2:10]
    zero = axis.index("0         +")
    bars = [row for row in rows if "●" in row]
    assert len(bars) == 8
    assert "material=brass" in bars[0]
    assert all(row[zero] in "│┿●━┆" for row in bars)
    assert "┆" in bars[0]


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_lines_fit_the_terminal(tmp_path, width):
    long = paired("site=" + "x" * 70, "slice", slice="site=" + "x" * 70)
    text = _text(commit(tmp_path / "v", rich_verdict(checks=[*rich_verdict().checks, long]), predictions=PREDICTIONS), width)
    slack = 20 if width < 80 else 0
    assert max(len(line) for line in text.splitlines()) <= max(width, 60) + slack


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path):
    bad = paired("site=\x1b[31mred", "critical-slice", slice="site=\x1b[31mred", outcome="fail")
    text = _text(commit(tmp_path / "v", rich_verdict(checks=[bad])))
    assert "\x1b" not in text
    assert "site=�[31mred" in text


def test_an_edited_verdict_is_never_explained(tmp_path):
    folder = commit(tmp_path / "v", rich_verdict())
    path = folder / "verdict.json"
    path.write_text(path.read_text().replace('"fail"', '"pass"'))
    with pytest.raises(DataError, match="altered"):
        explain(folder)


def test_predictions_without_a_column_are_refused(tmp_path):
    folder = commit(tmp_path / "v", rich_verdict(), predictions=PREDICTIONS.drop(columns="label"))
    with pytest.raises(DataError, match="no column label"):
        explain(folder)
