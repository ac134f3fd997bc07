"""The check against the last audited model."""

from dataclasses import replace

import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Check
from sightline.gate.anchor import anchor_checks
from sightline.gate.evidence import Evidence, Pair
from sightline.gate.paired import Question, non_inferiority
from sightline.gate.tango import exact_p

IMAGES = 1000


def answers(num_wrong: int) -> Answers:
    wrong = np.arange(IMAGES) < num_wrong
    return Answers(tuple(map(str, range(IMAGES))), wrong.astype(np.int64), np.full(IMAGES, 0.9, np.float32))


def evidence(candidate_wrong: int, anchor_wrong: int | None, **changes) -> Evidence:
    fields = {"stage": "trained", "labels_N": np.zeros(IMAGES, np.int64), "masks": {}, "candidate": answers(candidate_wrong)}
    fields |= {"champion": answers(candidate_wrong), "eager": None, "same_model": False}
    anchor = None if anchor_wrong is None else answers(anchor_wrong)
    return Evidence(**fields | {"anchor": anchor, "anchor_generation": 3} | changes)


def only(found: list[Check]) -> Check:
    assert len(found) == 1
    return found[0]


def test_without_an_anchor_nothing_is_claimed():
    assert anchor_checks(evidence(0, None), GateConfig()) == []


def test_the_check_is_required_and_names_the_generation():
    check = only(anchor_checks(evidence(40, 40), GateConfig()))
    assert (check.kind, check.name, check.required, check.outcome) == ("anchor", "against the last audited model", True, "pass")
    assert check.detail == "generation 3: a loss of 6 points is ruled out"
    assert (check.margin, check.reference, check.value) == (0.06, 0.96, 0.96)


def test_the_margin_is_the_policys_or_twice_the_margin():
    assert only(anchor_checks(evidence(40, 40), GateConfig(margin=0.02))).margin == 0.04
    assert only(anchor_checks(evidence(40, 40), GateConfig(margin=0.02, anchor_margin=0.01))).margin == 0.01
    huge = only(anchor_checks(evidence(40, 40), GateConfig(margin=0.7)))
    assert (huge.margin, huge.outcome) == (0.999, "pass")


def test_a_loss_beyond_the_margin_fails_with_the_numbers():
    check = only(anchor_checks(evidence(150, 40), GateConfig()))
    assert (check.outcome, check.num_broken, check.num_fixed) == ("fail", 110, 0)
    assert check.detail.startswith("generation 3: worse: 110 images broken, 0 fixed")


def test_the_alpha_of_the_look_decides_and_the_policys_without_one():
    seen, policy = evidence(40 + 47, 40), GateConfig()
    p_value = exact_p(47, 0, IMAGES, 0.06)
    assert 0.001 < p_value < 0.05
    assert only(anchor_checks(seen, policy)).outcome == "pass"
    assert only(anchor_checks(replace(seen, alpha=p_value * 1.01), policy)).outcome == "pass"
    assert only(anchor_checks(replace(seen, alpha=p_value * 0.99), policy)).outcome != "pass"


@pytest.mark.parametrize("with_anchor", [True, False])
def test_small_losses_add_up_until_the_anchor_stops_them(with_anchor):
    """Each generation loses 1.2 points, which the comparison with the champion alone (margin 3 points) lets pass for ever."""
    policy, wrong = GateConfig(), 40
    for _ in range(10):
        champion, candidate = answers(wrong), answers(wrong + 12)
        seen = evidence(wrong + 12, 40 if with_anchor else None, champion=champion, candidate=candidate)
        pair = Pair.count(seen.correct(champion), seen.correct(candidate))
        checks = [non_inferiority(Question("overall", "overall", "", policy.margin, policy.alpha), pair), *anchor_checks(seen, policy)]
        if any(check.outcome != "pass" for check in checks):
            break
        wrong += 12
    lost = (wrong - 40) / IMAGES
    assert lost < 2 * policy.margin if with_anchor else lost == pytest.approx(0.12)
