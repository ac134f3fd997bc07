"""The judge that decides in production, fed with synthetic requests: its error rates hold, and the check catches a judge that lies."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pytest
from scipy import stats

from sightline.config.deploy import DeployConfig
from sightline.deploy.judge import Decision, Judge, Judgement, Observation

CONFIG = DeployConfig(min_requests=200, max_requests=1000)


@dataclass(frozen=True)
class World:
    """Chances of events per arm; ``true_share`` is what the splitter really does; ``burst`` requests of one client fail together."""

    canary_errors: float = 0.0
    incumbent_errors: float = 0.0
    canary_slow: float = 0.0
    incumbent_slow: float = 0.0
    true_share: float = 0.5
    burst: int = 1


class AnyJudge(Protocol):
    def observe(self, observation: Observation) -> None: ...

    def decide(self, *, elapsed_s: float) -> Judgement: ...


def requests(world: World, seed: int) -> Iterator[Observation]:
    source = random.Random(seed)
    client = 0
    while True:
        client += 1
        canary = source.random() < world.true_share
        errors = world.canary_errors if canary else world.incumbent_errors
        slow = world.canary_slow if canary else world.incumbent_slow
        error, latency_ms = source.random() < errors, 400.0 if source.random() < slow else 5.0
        for _ in range(world.burst if error else 1):
            yield Observation(str(client), "canary" if canary else "incumbent", error, latency_ms)


def outcome(judge: AnyJudge, world: World, seed: int) -> tuple[Decision, str]:
    for observation in requests(world, seed):
        judge.observe(observation)
        judgement = judge.decide(elapsed_s=0.0)
        if judgement.decision != "hold":
            return judgement.decision, judgement.reason
    raise AssertionError("unreachable")


def outcomes(world: World, num: int, *, config: DeployConfig = CONFIG) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in range(num):
        decision, reason = outcome(Judge(config, has_incumbent=True), world, seed)
        found["undecided" if reason.startswith("undecided") else decision] += 1
    return found


def assert_rate_at_most(events: int, runs: int, claim: float) -> None:
    """Fails when the events show, at 99.9 % confidence (Clopper-Pearson), that the rate is above the claim."""
    bound = stats.beta.ppf(0.001, events, runs - events + 1) if events else 0.0
    assert bound <= claim, f"{events} of {runs}: the rate is at least {bound:.3f}, claimed {claim}"


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(canary_errors=0.01, incumbent_errors=0.01),
        World(canary_errors=0.02, incumbent_errors=0.03, canary_slow=0.02, incumbent_slow=0.02),
        World(canary_slow=0.1, incumbent_slow=0.1),
    ],
    ids=["no events", "few errors in both", "errors at the limit", "slow at the limit"],
)
def test_a_healthy_canary_is_rolled_back_on_evidence_with_at_most_the_claimed_probability(world: World) -> None:
    found = outcomes(world, 100)
    assert_rate_at_most(found["rollback"], 100, CONFIG.alpha)


def test_a_canary_without_events_is_promoted_after_a_few_hundred_requests() -> None:
    assert outcomes(World(), 100, config=DeployConfig(max_requests=1000)) == Counter(promote=100)


@pytest.mark.parametrize(
    ("world", "within"),
    [(World(canary_errors=0.2), 70), (World(canary_errors=0.1), 260), (World(canary_slow=0.5), 60), (World(0.2, 0.2), 70)],
    ids=["20 % errors", "10 % errors", "half slow", "as bad as a bad incumbent"],
)
def test_a_bad_canary_is_rolled_back_within_few_of_its_requests(world: World, within: int) -> None:
    config = CONFIG.model_copy(update={"max_requests": 2 * within * 2})
    found = outcomes(world, 100, config=config)
    assert found["promote"] == 0
    assert found["rollback"] >= 95


@pytest.mark.parametrize("world", [World(canary_errors=0.02), World(0.012, 0.004), World(canary_slow=0.1)], ids=["limit", "ratio", "slow"])
def test_a_canary_that_is_just_bad_is_promoted_with_at_most_the_claimed_probability(world: World) -> None:
    assert_rate_at_most(outcomes(world, 40)["promote"], 40, CONFIG.beta)


def test_bursts_from_one_client_count_once() -> None:
    found = outcomes(World(canary_errors=0.01, incumbent_errors=0.01, burst=10), 40)
    assert_rate_at_most(found["rollback"], 40, CONFIG.alpha)


def test_a_wrong_split_is_found() -> None:
    config = CONFIG.model_copy(update={"min_requests": 4000, "max_requests": 8000})
    reasons = [outcome(Judge(config, has_incumbent=True), World(true_share=0.58), seed)[1] for seed in range(5)]
    assert all(reason.startswith("the split is wrong") for reason in reasons)


Z_LIMIT = stats.norm.isf(CONFIG.alpha)


class PeekingJudge:
    """The negative control: a z-test of the difference, looked at after every request, as if each look were the only one."""

    def __init__(self) -> None:
        self._num = {"canary": 0, "incumbent": 0}
        self._errors = {"canary": 0, "incumbent": 0}

    def observe(self, observation: Observation) -> None:
        self._num[observation.arm] += 1
        self._errors[observation.arm] += observation.error

    def decide(self, *, elapsed_s: float) -> Judgement:
        total = sum(self._num.values())
        if total >= CONFIG.max_requests:
            return Judgement("promote", "")
        pooled = sum(self._errors.values()) / total
        if min(self._num.values()) < 30 or not 0 < pooled < 1:
            return Judgement("hold", "")
        difference = self._errors["canary"] / self._num["canary"] - self._errors["incumbent"] / self._num["incumbent"]
        spread = math.sqrt(pooled * (1 - pooled) * sum(1 / num for num in self._num.values()))
        return Judgement("rollback" if difference / spread > Z_LIMIT else "hold", "")


def test_the_check_rejects_a_judge_that_peeks() -> None:
    world = World(canary_errors=0.02, incumbent_errors=0.02)
    threshold_reached = sum(outcome(PeekingJudge(), world, seed)[0] == "rollback" for seed in range(100))
    with pytest.raises(AssertionError, match="the rate is at least"):
        assert_rate_at_most(threshold_reached, 100, CONFIG.alpha)
