import numpy as np

from sightline.evaluate.confusions import MAX_CONFUSIONS, confusions
from sightline.evaluate.metrics import confusion
from sightline.evaluate.predict import Answers

CLASSES = ("Crack", "Dent", "Free")


def _answers(predicted) -> Answers:
    array = np.array(predicted, dtype=np.int64)
    return Answers(tuple(str(i) for i in range(len(array))), array, np.ones(len(array), dtype=np.float32))


def test_errors_that_grew_most_come_first_and_name_the_true_class_first():
    labels = np.array([0, 0, 0, 1, 1, 2])
    found = confusions(labels, _answers([0, 0, 2, 0, 0, 2]), _answers([2, 2, 2, 0, 1, 2]), CLASSES)
    assert [(c.name, c.reference, c.candidate) for c in found] == [("Crack taken for Free", 1, 3), ("Dent taken for Crack", 2, 1)]


def test_an_answer_outside_the_classes_is_no_valid_answer():
    found = confusions(np.array([0, 0]), None, _answers([-1, 1]), CLASSES)
    assert {(c.name, c.candidate) for c in found} == {("no valid answer for Crack", 1), ("Crack taken for Dent", 1)}


def test_a_first_model_has_counts_of_its_own_only():
    found = confusions(np.array([0, 0, 1]), None, _answers([1, 1, 0]), CLASSES)
    assert [(c.name, c.reference, c.candidate) for c in found] == [("Crack taken for Dent", None, 2), ("Dent taken for Crack", None, 1)]


def test_no_errors_and_no_images_give_nothing():
    assert confusions(np.array([0, 1]), _answers([0, 1]), _answers([0, 1]), CLASSES) == ()
    assert confusions(np.array([], dtype=np.int64), None, _answers([]), CLASSES) == ()


def test_many_classes_are_bounded_and_the_counts_are_those_of_the_confusion_matrix():
    rng = np.random.default_rng(0)
    names = [f"c{i:02d}" for i in range(30)]
    labels, old, new = (rng.integers(0, 30, 3000) for _ in range(3))
    found = confusions(labels, _answers(old), _answers(new), names)
    assert len(found) == MAX_CONFUSIONS
    growth = [c.candidate - (c.reference or 0) for c in found]
    assert growth == sorted(growth, reverse=True)
    matrix_old, matrix_new = confusion(labels, old, 30), confusion(labels, new, 30)
    for item in found:
        true, given = (names.index(name) for name in item.name.split(" taken for "))
        assert (item.reference, item.candidate) == (matrix_old[true, given], matrix_new[true, given])
