import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from sightline.evaluate import metrics


@pytest.mark.parametrize("seed", range(20))
def test_the_scores_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, labels=range(5), zero_division=np.nan)
    found = metrics.class_scores(labels, predicted, 5)
    assert found.recall_C == pytest.approx(recall, abs=1e-12)
    assert found.precision_C == pytest.approx(precision, abs=1e-12)
    assert found.f1_C == pytest.approx(f1, abs=1e-12)
    assert metrics.macro_f1(labels, predicted, 5) == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-12)
    assert (metrics.confusion(labels, predicted, 5) == confusion_matrix(labels, predicted, labels=range(5))).all()
    assert metrics.accuracy(labels, predicted) == pytest.approx((labels == predicted).mean())


def test_a_class_without_images_or_answers_is_not_defined_and_not_averaged():
    labels, predicted = np.array([0, 0, 1]), np.array([0, 0, 1])
    found = metrics.class_scores(labels, predicted, 3)
    assert np.isnan(found.recall_C[2])
    assert np.isnan(found.precision_C[2])
    assert metrics.macro_f1(labels, predicted, 3) == 1.0


def test_an_invalid_answer_is_a_miss_of_its_class():
    found = metrics.class_scores(np.array([0, 0, 1]), np.array([0, -1, 1]), 2)
    assert found.recall_C.tolist() == [0.5, 1.0]
    assert found.precision_C.tolist() == [1.0, 1.0]


def test_nothing_has_no_accuracy():
    empty = np.array([], dtype=np.int64)
    assert np.isnan(metrics.accuracy(empty, empty))
    assert np.isnan(metrics.macro_f1(empty, empty, 3))
    assert np.isnan(metrics.calibration_error(np.array([], dtype=bool), np.array([], dtype=np.float32)))


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    correct = np.array([True, False, True, True])
    assert metrics.calibration_error(correct, np.array([0.75] * 4, dtype=np.float32)) == pytest.approx(0.0, abs=1e-6)
    assert metrics.calibration_error(correct, np.array([1.0] * 4, dtype=np.float32)) == pytest.approx(0.25)
