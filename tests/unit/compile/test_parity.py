import numpy as np

from sightline.compile.parity import compare
from sightline.runtimes.base import Prediction

LABELS = np.array([0, 1, 1, 0])
EAGER = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], np.float32)


def prediction(probabilities):
    return Prediction(np.asarray(probabilities, np.float32), np.zeros((len(probabilities), 2), np.float32))


def test_equal_answers_have_no_difference():
    parity = compare(prediction(EAGER), prediction(EAGER), LABELS)
    assert (parity.accuracy, parity.agreement, parity.max_abs_diff) == (0.75, 1.0, 0.0)


def test_a_changed_answer_counts_for_agreement_even_when_it_is_right():
    changed = EAGER.copy()
    changed[2] = 0.3, 0.7
    parity = compare(prediction(changed), prediction(EAGER), LABELS)
    assert (parity.accuracy, parity.agreement) == (1.0, 0.75)
    np.testing.assert_allclose(parity.max_abs_diff, 0.3, atol=1e-6)


def test_an_answer_that_is_not_finite_is_wrong_and_disagrees():
    broken = EAGER.copy()
    broken[0] = np.nan
    parity = compare(prediction(broken), prediction(EAGER), LABELS)
    assert (parity.accuracy, parity.agreement, parity.max_abs_diff) == (0.5, 0.75, 1.0)
