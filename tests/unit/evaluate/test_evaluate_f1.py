import numpy as np
import pytest
from sklearn.metrics import f1_score

from sightline.evaluate.f1 import MacroF1
from sightline.evaluate.metrics import macro_f1


def answers(num_images=200, num_classes=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_images)
    wrong = rng.uniform(size=(2, num_images)) < 0.3
    old, new = np.where(wrong, rng.integers(0, num_classes, (2, num_images)), labels)
    return labels, old, new


@pytest.mark.parametrize("seed", range(3))
def test_weightings_agree_with_scikit_learn_on_the_drawn_images(seed):
    labels, old, new = answers(60, seed=seed)
    drawn = np.random.default_rng(seed).integers(0, 60, (20, 60))
    weights = np.stack([np.bincount(rows, minlength=60) for rows in drawn]).astype(np.float32)
    found = MacroF1(labels, old, new, 5).at(weights)
    for row, (reference, value) in zip(drawn, found, strict=True):
        assert reference == pytest.approx(f1_score(labels[row], old[row], average="macro"))
        assert value == pytest.approx(f1_score(labels[row], new[row], average="macro"))


def test_a_class_without_images_and_answers_is_left_out():
    labels, old, new = answers()
    ones = np.ones((1, 200), np.float32)
    assert MacroF1(labels, old, new, 5).at(ones) == pytest.approx(MacroF1(labels, old, new, 9).at(ones))


def test_an_invalid_answer_is_a_miss():
    labels, _, new = answers()
    new = np.where(np.arange(200) % 10 == 0, -1, np.where(np.arange(200) % 10 == 1, 77, new))
    found = MacroF1(labels, new, new, 5).at(np.ones((1, 200), np.float32))
    assert found[0] == pytest.approx([macro_f1(labels, new, 5)] * 2)


def test_without_a_reference_or_a_weight_there_is_no_number():
    labels, _, new = answers()
    metric = MacroF1(labels, None, new, 5)
    found = metric.at(np.stack([np.ones(200), np.zeros(200)]).astype(np.float32))
    assert np.isnan(found).tolist() == [[True, False], [True, True]]
    assert np.isnan(metric.image_scores()[0]).all()


def test_images_of_one_cell_can_be_swapped():
    labels, old, new = answers(300, 3)
    metric = MacroF1(labels, old, new, 3)
    cells = metric.cells()
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        assert len({(labels[row], old[row], new[row]) for row in rows}) == 1
    assert len(np.unique(cells)) == len({*zip(labels, old, new, strict=True)})


def test_a_subset_is_the_metric_on_its_images():
    labels, old, new = answers()
    rows = np.array([5, 3, 100, 101, 7, 3])
    metric = MacroF1(labels, old, new, 5).subset(rows)
    assert len(metric) == 6
    assert metric.at(np.ones((1, 6), np.float32))[0, 0] == pytest.approx(f1_score(labels[rows], old[rows], average="macro"))
    assert np.array_equal(metric.image_scores(), [old[rows] == labels[rows], new[rows] == labels[rows]])


def test_no_images_are_fine():
    none = np.zeros(0, np.int64)
    assert np.isnan(MacroF1(none, none, none, 3).at(np.ones((2, 0), np.float32))).all()
