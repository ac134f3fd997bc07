"""The e-processes: supermartingales under their null by exact enumeration, and checked against a second source."""

import itertools
import math

import pytest
from scipy import stats

from sightline.deploy.evidence import RatioEvidence, ShareEvidence, SplitEvidence, log_mean


@pytest.mark.parametrize("direction", ["above", "below"])
@pytest.mark.parametrize("limit", [0.02, 0.1, 0.6])
def test_the_mean_of_a_share_e_value_is_one_at_its_limit_and_less_inside_the_null(direction: str, limit: float) -> None:
    inside = limit / 2 if direction == "above" else (1 + limit) / 2
    assert _mean(direction, limit, limit) == pytest.approx(1.0)
    assert _mean(direction, limit, inside) < 1.0


def _mean(direction: str, limit: float, chance: float) -> float:
    total = 0.0
    for outcome in itertools.product((True, False), repeat=8):
        evidence = ShareEvidence(limit, direction)
        for event in outcome:
            (evidence.event if event else evidence.quiet)()
        total += math.prod(chance if event else 1 - chance for event in outcome) * math.exp(evidence.log_value)
    return total


@pytest.mark.parametrize(("direction", "inside"), [("above", 0.5), ("below", 3.0)])
def test_the_mean_of_a_ratio_e_value_is_one_at_its_ratio_and_less_inside_the_null(direction: str, inside: float) -> None:
    for ratio, expected in ((1.5, pytest.approx(1.0)), (inside, None)):
        total = 0.0
        for outcome in itertools.product((True, False), repeat=6):
            evidence, weight = RatioEvidence(1.5, direction), 1.0
            for index, canary in enumerate(outcome):
                share = 0.3 + 0.05 * index
                theta = share * ratio / (share * ratio + 1 - share)
                weight *= theta if canary else 1 - theta
                evidence.event(canary=canary, share=share)
            total += weight * math.exp(evidence.log_value)
        assert total == expected if expected is not None else total < 1.0


def test_the_split_e_value_is_the_beta_binomial_over_the_binomial() -> None:
    evidence = SplitEvidence(0.1)
    for index in range(200):
        evidence.unit(canary=index % 6 == 0)
    num = evidence.num_canary
    expected = stats.betabinom.logpmf(num, 200, 100.0, 900.0) - stats.binom.logpmf(num, 200, 0.1)
    assert evidence.log_value == pytest.approx(expected)


def test_nothing_seen_is_no_evidence() -> None:
    assert ShareEvidence(0.02, "above").log_value == pytest.approx(0.0)
    assert ShareEvidence(0.02, "below").log_value == pytest.approx(0.0)
    assert RatioEvidence(1.0, "above").log_value == pytest.approx(0.0)
    assert SplitEvidence(0.5).log_value == pytest.approx(0.0)


def test_the_mean_of_logarithms_does_not_overflow() -> None:
    assert log_mean([1000.0, -math.inf]) == pytest.approx(1000.0 - math.log(2))
    assert log_mean([-math.inf, -math.inf]) == -math.inf


def test_a_limit_outside_zero_and_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="share limit"):
        ShareEvidence(1.0, "above")
