import json

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from sightline.errors import DataError
from sightline.evaluate.predict import Answers
from sightline.evaluate.thresholds import fewest_answers
from sightline.gate.threshold_table import FILE, Kept, ThresholdsRecord, ThresholdTable, threshold_table, write_thresholds

CLASSES = ("dent", "crack", "rare")


def _world(seed: int, num: int, name: str) -> tuple[Answers, np.ndarray]:
    """Dents are right with the stated confidence, cracks half the time, the third class is answered for three images."""
    rng = np.random.default_rng(seed)
    confidence = (0.5 + 0.5 * rng.beta(6, 1, num)).astype(np.float32)
    predicted = rng.integers(0, 2, num)
    predicted[:3] = 2
    right = rng.random(num) < np.where(predicted == 1, 0.5, confidence)
    return Answers(tuple(f"{name}{row}" for row in range(num)), predicted, confidence), np.where(right, predicted, (predicted + 1) % 2)


@pytest.fixture(scope="module")
def table() -> ThresholdTable:
    return threshold_table(*_world(0, 3000, "v"), *_world(1, 1000, "g"), CLASSES)


def test_each_class_has_a_row_with_what_its_threshold_does_on_both_splits(table):
    golden, labels = _world(1, 1000, "g")
    dent = table.rows[0]
    kept = (golden.predicted_N == 0) & (golden.confidence_N >= dent.threshold)
    assert [row.name for row in table.rows] == list(CLASSES)
    assert (dent.golden.num_kept, dent.golden.num_right) == (kept.sum(), (labels[kept] == 0).sum())
    assert dent.golden.coverage == pytest.approx(kept.sum() / (golden.predicted_N == 0).sum())
    assert dent.golden.precision == pytest.approx((labels[kept] == 0).mean())
    assert dent.validation.precision > table.target


def test_intervals_are_clopper_pearson(table):
    for kept in (table.rows[0].golden, table.rows[0].validation, table.overall):
        assert kept.interval == pytest.approx(proportion_confint(kept.num_right, kept.num_kept, alpha=0.05, method="beta"))


def test_a_class_without_a_threshold_says_why(table):
    crack, rare = table.rows[1:]
    assert (crack.threshold, crack.golden.num_kept, crack.golden.precision, crack.golden.interval) == (None, 0, None, None)
    assert crack.reason == "its most confident validation answers are wrong too often"
    assert rare.reason == "3 validation answers; at least 45 are needed"
    assert table.rows[0].reason == ""


def test_the_overall_row_counts_all_golden_images(table):
    assert (table.overall.num_answers, table.overall.num_kept) == (1000, table.rows[0].golden.num_kept)
    nothing = Answers((), np.zeros(0, np.int64), np.zeros(0, np.float32))
    empty = threshold_table(nothing, np.zeros(0, np.int64), nothing, np.zeros(0, np.int64), CLASSES)
    assert (empty.overall.coverage, empty.overall.precision) == (0.0, None)


@pytest.mark.parametrize(
    ("num_right", "num_kept", "interval", "standing"),
    [
        (95, 100, (0.88, 0.98), "reached"),
        (94, 100, (0.87, 0.98), "within chance"),
        (60, 100, (0.5, 0.7), "missed"),
        (0, 0, None, "unknown"),
    ],
)
def test_a_precision_below_the_target_is_only_missed_when_chance_does_not_explain_it(num_right, num_kept, interval, standing):
    kept = Kept(120, num_kept, num_right, num_kept / 120, num_right / num_kept if num_kept else None, interval)
    assert ThresholdTable(0.95, 0.9, (), kept).standing(kept) == standing


def test_thresholds_that_were_chosen_on_golden_images_are_refused():
    answers, labels = _world(0, 100, "v")
    with pytest.raises(DataError, match="also used to choose"):
        threshold_table(answers, labels, answers, labels, CLASSES)


def test_the_file_holds_the_table_bit_for_bit(table, tmp_path):
    write_thresholds(tmp_path, table)
    read = ThresholdsRecord.model_validate_json((tmp_path / FILE).read_bytes())
    assert ThresholdTable(read.target, read.level, read.rows, read.overall) == table
    raw = json.loads((tmp_path / FILE).read_text())
    assert raw["rows"][1]["threshold"] is None
    assert raw["rows"][0]["golden"]["precision"] == table.rows[0].golden.precision


@pytest.mark.parametrize(("target", "level"), [(0.95, 0.9), (0.99, 0.95), (0.8, 0.9)])
def test_the_fewest_answers_are_those_that_could_show_the_target(target, level):
    fewest = fewest_answers(target, level)
    bounds = [proportion_confint(num, num, alpha=2 * (1 - level), method="beta")[0] for num in (fewest - 1, fewest)]
    assert bounds[0] < target <= bounds[1]
