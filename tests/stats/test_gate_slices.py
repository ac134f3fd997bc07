"""False alarms over many slices, and the whole policy on synthetic worlds."""

import functools

import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import overall_outcome
from sightline.gate import bounds, mcnemar
from sightline.gate.decide import decide
from sightline.gate.evidence import Evidence
from sightline.gate.multiplicity import tarone_holm

WORLDS, ALPHA = 1500, 0.05
SIZES = np.linspace(20, 600, 30).astype(int)
CHURN = 0.02


class RateExceededError(Exception):
    """More alarms than the claim can explain."""


def require_rate(alarms: int, worlds: int, claimed: float) -> None:
    """Refuses when even the 99.9 % lower bound of the observed rate is above the claim."""
    if bounds.lower_bound(alarms, worlds, 0.001) > claimed:
        raise RateExceededError(f"{alarms} of {worlds}, claimed at most {claimed:.1%}")


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


def _world(rng: np.random.Generator, *, images: int, broken: float, fixed: float) -> Evidence:
    """One critical slice with its own rates of broken and fixed images beside a part where nothing changes."""
    critical = np.arange(2 * images) < images
    draw = rng.uniform(size=2 * images)
    old = np.where(critical, draw >= fixed, True)
    new = np.where(critical, (draw < fixed) | (draw >= fixed + broken), True)
    labels = np.zeros(2 * images, dtype=np.int64)
    ids = tuple(map(str, range(2 * images)))

    def answers(right: np.ndarray) -> Answers:
        return Answers(ids, np.where(right, 0, 1), np.full(len(ids), 0.9, dtype=np.float32))

    return Evidence(
        "trained",
        labels,
        {"site=A": critical},
        answers(new),
        answers(old),
        None,
        same_model=False,
        sentinels=(),
        size_bytes=1,
        latency=None,
    )


def test_the_whole_policy_promotes_a_model_at_the_critical_margin_at_most_one_time_in_twenty():
    rng, worlds = np.random.default_rng(22), 150
    policy = GateConfig(critical_slices=("site=A",), critical_margin=0.05, margin=0.04)
    promoted = sum(overall_outcome(decide(_world(rng, images=150, broken=0.08, fixed=0.03), policy)) == "pass" for _ in range(worlds))
    require_rate(promoted, worlds, ALPHA)


def test_the_whole_policy_promotes_a_better_model():
    rng = np.random.default_rng(23)
    policy = GateConfig(critical_slices=("site=A",), critical_margin=0.05, margin=0.04)
    promoted = sum(overall_outcome(decide(_world(rng, images=150, broken=0.01, fixed=0.06), policy)) == "pass" for _ in range(30))
    assert promoted >= 27
