"""False alarms over many slices, and the whole policy on synthetic worlds."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import KIND, Verdict, overall_outcome, read_verified, write_verdict
from sightline.gate import mcnemar
from sightline.gate.decide import decide
from sightline.gate.multiplicity import tarone_holm
from sightline.gate.plan import Golden, plan
from sightline.store.artifact import commit_artifact
from tests.stats.size import FULL, RateExceededError, require_rate
from tests.stats.worlds import Truth, draw

WORLDS, ALPHA = (6000 if FULL else 1500), 0.05
SIZES = np.linspace(20, 600, 30).astype(int)
CHURN = 0.02
END_TO_END = 2000 if FULL else 150


@functools.cache
def mid_p(broken: int, fixed: int) -> float:
    return mcnemar.mid_p(broken, fixed)


@functools.cache
def null_worlds() -> list[tuple[list[float], list[float]]]:
    """P-values and their smallest possible values of 30 slices on which the models are equally good."""
    rng = np.random.default_rng(20)
    broken, fixed = (rng.binomial(SIZES, CHURN, (WORLDS, len(SIZES))) for _ in range(2))
    return [
        ([mid_p(int(b), int(f)) for b, f in zip(bs, fs, strict=True)], [mcnemar.smallest_mid_p(int(m)) for m in bs + fs])
        for bs, fs in zip(broken, fixed, strict=True)
    ]


def test_equal_models_are_blocked_by_no_slice_more_often_than_claimed():
    alarms = sum(bool(tarone_holm(p, smallest, ALPHA).rejected.any()) for p, smallest in null_worlds())
    require_rate(alarms, WORLDS, ALPHA)
    assert alarms / WORLDS > 0.015  # not so conservative that nothing is ever found


def test_negative_control_uncorrected_slices_are_caught():
    alarms = sum(min(p) <= ALPHA for p, _ in null_worlds())
    assert alarms / WORLDS > 0.3
    with pytest.raises(RateExceededError):
        require_rate(alarms, WORLDS, ALPHA)


def test_a_small_slice_that_breaks_is_found_among_thirty():
    rng = np.random.default_rng(21)
    found = 0
    for p, smallest in null_worlds()[:400]:
        broken, fixed = int(rng.binomial(150, 0.12)), int(rng.binomial(150, CHURN))
        values, least = [*p, mid_p(broken, fixed)], [*smallest, mcnemar.smallest_mid_p(broken + fixed)]
        found += bool(tarone_holm(values, least, ALPHA).rejected[-1])
    assert found / 400 > 0.65


POLICY = GateConfig(critical_slices=("site=A",), critical_margin=0.05, margin=0.04, alpha_spending="fixed")


def _verdicts(truth: Truth, policy: GateConfig, worlds: int, folder: Path) -> Iterator[Verdict]:
    """What is on the disk after the gate has judged each world."""
    for number, evidence in enumerate(draw(truth, worlds, seed=22).evidence()):
        checks = decide(evidence, policy)
        verdict = Verdict(
            stage="trained",
            outcome=overall_outcome(checks),
            candidate="new",
            variant="eager",
            champion="old",
            golden_digest="golden",
            num_images=len(evidence.labels_N),
            looks=1,
            checks=checks,
            reason="a world",
        )

        def write(place: Path, verdict: Verdict = verdict) -> dict[str, object]:
            write_verdict(place, verdict)
            return {"inputs": {}, "code": "", "config": {}, "seed": None, "result": {}}

        yield read_verified(commit_artifact(folder / str(number), KIND, write).folder)


def _share_promoted(truth: Truth, folder: Path, worlds: int, policy: GateConfig = POLICY) -> tuple[int, list[Verdict]]:
    verdicts = list(_verdicts(truth, policy, worlds, folder))
    return sum(verdict.outcome == "pass" for verdict in verdicts), verdicts


def _halves(loss: float, images: int = 300) -> Truth:
    """A critical half with a loss; nothing is lost in the other half."""
    critical = np.arange(images) % 2 == 0
    return Truth({"site=A": critical}, np.where(critical, loss, 0.0), churn=0.05)


def test_the_whole_policy_promotes_a_model_at_the_critical_margin_at_most_one_time_in_twenty(tmp_path):
    promoted, _ = _share_promoted(_halves(0.05), tmp_path, END_TO_END)
    require_rate(promoted, END_TO_END, ALPHA)


def test_negative_control_a_model_below_half_its_critical_margin_is_caught(tmp_path):
    promoted, _ = _share_promoted(_halves(0.01), tmp_path, 30)
    with pytest.raises(RateExceededError):
        require_rate(promoted, 30, ALPHA)


def test_the_whole_policy_promotes_an_equal_model_as_often_as_the_plan_says(tmp_path):
    truth, worlds = _halves(0.0), 2000 if FULL else 80
    made = plan(Golden.from_masks(300, truth.masks), POLICY, truth.churn)
    promoted, _ = _share_promoted(truth, tmp_path, worlds)
    # Four standard deviations of the observed share, and one point for the plan's own simulation.
    allowed = 4 * np.sqrt(made.promote_equal * (1 - made.promote_equal) / worlds) + 0.01
    assert promoted / worlds == pytest.approx(made.promote_equal, abs=allowed)


def test_thirty_slices_of_an_equal_model_block_it_no_more_often_than_claimed(tmp_path):
    images, worlds = 900, 2000 if FULL else 60
    masks = {f"lot={number}": np.arange(images) % 30 == number for number in range(30)}
    truth = Truth(masks, np.zeros(images))
    _, verdicts = _share_promoted(truth, tmp_path, worlds, GateConfig(margin=0.2))
    blocked = sum(any(check.kind == "slice" and check.required and check.outcome == "fail" for check in v.checks) for v in verdicts)
    require_rate(blocked, worlds, ALPHA)
    made = plan(Golden.from_masks(images, masks), GateConfig(margin=0.2), truth.churn)
    require_rate(round(made.false_alarm * made.num_worlds), made.num_worlds, ALPHA)


def test_a_broken_slice_is_seen_at_least_as_often_as_the_plan_says(tmp_path):
    images, worlds = 900, 1000 if FULL else 40
    masks = {f"lot={number}": np.arange(images) % 6 == number for number in range(6)}
    truth = Truth(masks, np.where(masks["lot=0"], 0.1, 0.0))
    made = plan(Golden.from_masks(images, masks), GateConfig(margin=0.2), truth.churn)
    published = next(row.power_10 for row in made.rows if row.name == "lot=0")
    _, verdicts = _share_promoted(truth, tmp_path, worlds, GateConfig(margin=0.2))
    missed = worlds - sum(any(check.name == "lot=0" and check.outcome == "fail" for check in v.checks) for v in verdicts)
    require_rate(missed, worlds, 1 - published)


def test_the_whole_policy_promotes_a_better_model(tmp_path):
    promoted, _ = _share_promoted(_halves(-0.03), tmp_path, 20)
    assert promoted >= 18
