from dataclasses import replace

import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Check
from sightline.gate.calibration import calibration_checks, stated
from sightline.gate.evidence import Evidence

POLICY = GateConfig(calibration_margin=0.05, num_resamples=300)


def _answers(right: np.ndarray, confidence: np.ndarray) -> Answers:
    ids = tuple(map(str, range(len(right))))
    return Answers(ids, np.where(right, 0, 1), confidence.astype(np.float32))


def _evidence(num: int = 3000, *, bias: float = 0.0, champion: bool = True, seed: int = 0) -> Evidence:
    """A champion that is right as often as it says, and a candidate that says ``bias`` more."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.5, 0.88, num)
    old = rng.random(num) < chance
    new = np.where(rng.random(num) < 0.9, old, rng.random(num) < chance)
    return Evidence(
        stage="trained",
        labels_N=np.zeros(num, np.int64),
        masks={},
        candidate=_answers(new, chance + bias),
        champion=_answers(old, chance) if champion else None,
        eager=None,
        same_model=False,
    )


def _only(evidence: Evidence, policy: GateConfig = POLICY) -> Check:
    (check,) = calibration_checks(evidence, policy)
    assert (check.kind, check.metric, check.unit, check.lower_is_better) == ("calibration", "ECE", "share", True)
    return check


def test_an_equally_calibrated_candidate_passes():
    check = _only(_evidence())
    assert (check.required, check.outcome, check.margin) == (True, "pass", 0.05)
    assert check.interval[0] <= check.estimate <= check.interval[1] < 0.05
    assert check.estimate == pytest.approx(check.value - check.reference, abs=1e-6)
    assert "a rise of 5 points is ruled out; Brier score 0." in check.detail


def test_an_overconfident_candidate_fails_and_a_better_calibrated_one_passes():
    worse = _evidence(bias=0.1)
    check = _only(worse)
    assert check.outcome == "fail"
    assert check.estimate > 0.05
    assert _only(replace(worse, candidate=worse.champion, champion=worse.candidate)).outcome == "pass"


def test_few_images_are_inconclusive_with_the_labels_that_are_missing():
    check = _only(_evidence(300))
    assert check.outcome == "inconclusive"
    assert 300 < check.labels_needed < 10_000
    assert f"label about {check.labels_needed} more" in check.detail


def test_few_clusters_are_inconclusive_however_good_the_numbers():
    check = _only(replace(_evidence(), clusters_N=np.arange(3000) // 20))
    assert (check.outcome, check.num_clusters, check.labels_needed) == ("inconclusive", 150, 50)


def test_without_a_margin_the_numbers_are_shown_and_not_required():
    check = _only(_evidence(bias=0.1), GateConfig(num_resamples=300))
    assert (check.required, check.outcome, check.margin) == (False, "info", None)
    assert check.interval is not None
    assert check.detail.startswith("shown only, no margin is set; Brier score")


def test_a_first_model_gets_its_value_with_an_interval():
    check = _only(_evidence(bias=0.1, champion=False))
    assert (check.required, check.outcome, check.reference) == (False, "info", None)
    assert check.value == check.estimate == pytest.approx(0.1, abs=0.03)
    assert check.interval[0] <= check.value <= check.interval[1]
    assert "no champion to compare with" in check.detail


def test_an_invalid_answer_is_an_error_stated_with_full_confidence():
    evidence = _evidence()
    broken = evidence.candidate.predicted_N.copy(), evidence.candidate.confidence_N.copy()
    broken[0][:600], broken[1][:600] = -1, 0
    answers = Answers(evidence.candidate.sample_ids, *broken, 600)
    found = stated(evidence, answers)
    assert not found.correct_N[:600].any()
    assert (found.confidence_N[:600] == 1).all()
    assert _only(replace(evidence, candidate=answers)).outcome == "fail"
    elsewhere = Answers(answers.sample_ids, np.full(3000, -1), evidence.candidate.confidence_N)  # a class that the data do not have
    np.testing.assert_array_equal(stated(evidence, elsewhere).confidence_N, evidence.candidate.confidence_N)


def test_the_champion_itself_passes_with_few_images():
    evidence = _evidence(30)
    check = _only(replace(evidence, candidate=evidence.champion, same_model=True))
    assert (check.outcome, check.estimate) == ("pass", 0.0)


def test_the_level_of_this_look_counts():
    evidence = _evidence()
    plain, strict = _only(evidence), _only(replace(evidence, alpha=0.001))
    assert strict.interval[1] > plain.interval[1]


@pytest.mark.parametrize(("champion", "outcome", "required"), [(True, "inconclusive", True), (False, "info", False)])
def test_without_images_nothing_passes(champion, outcome, required):
    check = _only(_evidence(0, champion=champion))
    assert (check.outcome, check.required, check.detail) == (outcome, required, "no golden image")
