import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from sightline.errors import DataError
from sightline.evaluate.predict import Answers
from sightline.evaluate.thresholds import apply, choose

CLASSES = ("dent", "crack")


def _world(rng: np.random.Generator, num: int, name: str) -> tuple[Answers, np.ndarray]:
    """Answers that are right with the stated confidence."""
    confidence = (0.5 + 0.5 * rng.beta(3, 1, num)).astype(np.float32)
    predicted = rng.integers(0, 2, num)
    labels = np.where(rng.random(num) < confidence, predicted, 1 - predicted)
    return Answers(tuple(f"{name}{row}" for row in range(num)), predicted, confidence), labels


def test_the_kept_answers_are_shown_to_reach_the_target():
    answers, labels = _world(np.random.default_rng(0), 4000, "v")
    chosen = choose(answers, labels, CLASSES, target=0.9)
    assert [part.name for part in chosen.classes] == list(CLASSES)
    for index, part in enumerate(chosen.classes):
        kept = (answers.predicted_N == index) & (answers.confidence_N >= part.threshold)
        assert part.num_kept == kept.sum()
        assert part.num_right == (labels[kept] == index).sum()
        assert part.coverage == kept.sum() / (answers.predicted_N == index).sum()
        assert proportion_confint(part.num_right, part.num_kept, alpha=0.2, method="beta")[0] >= 0.9  # one-sided 90 %
        assert part.coverage > 0.1


def test_a_class_of_perfect_answers_is_kept_whole_from_forty_five_on():
    def threshold(num: int) -> float | None:
        confidence = np.linspace(0.6, 0.99, num).astype(np.float32)
        answers = Answers(tuple(map(str, range(num))), np.zeros(num, np.int64), confidence)
        return choose(answers, np.zeros(num, np.int64), ("dent",)).classes[0].threshold

    assert threshold(44) is None
    assert threshold(45) == pytest.approx(0.6)
    assert threshold(200) == pytest.approx(0.6)


def test_equal_confidences_are_kept_or_left_together():
    confidence = np.array([0.99] * 60 + [0.8] * 100, np.float32)
    labels = np.array([0] * 60 + [1] * 100)
    answers = Answers(tuple(map(str, range(160))), np.zeros(160, np.int64), confidence)
    found = choose(answers, labels, CLASSES).classes[0]
    assert (found.threshold, found.num_kept, found.precision) == (pytest.approx(0.99), 60, 1.0)


def test_without_a_threshold_no_answer_is_kept_and_precision_is_unknown():
    nothing = Answers((), np.zeros(0, np.int64), np.zeros(0, np.float32))
    chosen = choose(nothing, np.zeros(0, np.int64), CLASSES)
    answers, labels = _world(np.random.default_rng(1), 50, "g")
    found = apply(chosen, answers, labels)
    assert (found.coverage, found.precision, found.low) == (0.0, None, 0.0)
    assert all(part.threshold is None and part.precision is None for part in found.classes)
    assert apply(chosen, nothing, np.zeros(0, np.int64)).coverage == 0.0


def test_on_golden_images_coverage_and_precision_are_counted_anew():
    rng = np.random.default_rng(2)
    chosen = choose(*_world(rng, 4000, "v"), CLASSES, target=0.9)
    answers, labels = _world(rng, 2000, "g")
    found = apply(chosen, answers, labels)
    limits = np.array([part.threshold for part in chosen.classes])
    kept = answers.confidence_N >= limits[answers.predicted_N]
    assert found.coverage == kept.mean()
    assert found.precision == (labels[kept] == answers.predicted_N[kept]).mean()
    assert found.low == pytest.approx(proportion_confint(found.num_right, found.num_kept, alpha=0.2, method="beta")[0])


def test_an_invalid_answer_belongs_to_no_class_and_counts_against_coverage():
    rng = np.random.default_rng(3)
    chosen = choose(*_world(rng, 4000, "v"), CLASSES, target=0.9)
    answers, labels = _world(rng, 100, "g")
    broken = Answers(answers.sample_ids, np.full(100, -1), np.zeros(100, np.float32), 100)
    found = apply(chosen, broken, labels)
    assert (found.num_images, found.num_kept) == (100, 0)


def test_images_that_chose_the_thresholds_do_not_judge_them():
    answers, labels = _world(np.random.default_rng(4), 300, "v")
    chosen = choose(answers, labels, CLASSES)
    with pytest.raises(DataError, match="300 images were also used to choose the thresholds") as caught:
        apply(chosen, answers, labels)
    assert len(caught.value.problems) == 300


def test_the_promised_level_holds_and_the_plain_estimate_would_not():
    rng, worlds, target = np.random.default_rng(5), 150, 0.9
    missed = plain = 0
    for _ in range(worlds):
        answers, labels = _world(rng, 600, "v")
        one = choose(answers, labels, CLASSES, target=target).classes[0]
        if one.threshold is not None:
            missed += _true_precision(answers, one.threshold) < target
        plain += _true_precision(answers, _plain_threshold(answers, labels, target)) < target
    assert missed / worlds < 0.16  # claimed 10 %
    assert plain / worlds > 0.3  # negative control


def _true_precision(answers: Answers, threshold: float) -> float:
    kept = (answers.predicted_N == 0) & (answers.confidence_N >= threshold)
    return float(answers.confidence_N[kept].mean())


def _plain_threshold(answers: Answers, labels: np.ndarray, target: float) -> float:
    rows = np.flatnonzero(answers.predicted_N == 0)
    rows = rows[np.argsort(-answers.confidence_N[rows])]
    shares = np.cumsum(labels[rows] == 0) / np.arange(1, len(rows) + 1)
    return float(answers.confidence_N[rows[np.flatnonzero(shares >= target)[-1]]])
