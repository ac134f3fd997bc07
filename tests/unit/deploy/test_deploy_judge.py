import math

import pytest

from sightline.config.deploy import DeployConfig
from sightline.deploy.judge import Judge, Judgement, Observation

CONFIG = DeployConfig(min_requests=100, max_requests=2000, deadline_s=30.0)


def feed(judge: Judge, num: int, *, arm: str = "canary", error: bool = False, latency_ms: float = 5.0, client: str = "") -> Judgement:
    for index in range(num):
        judge.observe(Observation(client or f"{arm}-{judge.num_requests}-{index}", arm, error, latency_ms))  # type: ignore[arg-type]
    return judge.decide(elapsed_s=1.0)


def balanced(judge: Judge, num: int) -> Judgement:
    for _ in range(num):
        feed(judge, 1)
        feed(judge, 1, arm="incumbent")
    return judge.decide(elapsed_s=1.0)


def test_no_data_is_no_decision_and_at_the_deadline_a_rollback() -> None:
    judge = Judge(CONFIG, has_incumbent=True)
    assert judge.decide(elapsed_s=0.0) == Judgement("hold", "the canary has had no requests")
    assert judge.decide(elapsed_s=30.0) == Judgement("rollback", "undecided after 30 s: the canary has had no requests")


def test_a_canary_that_gets_no_requests_is_not_promoted_by_a_healthy_incumbent() -> None:
    judge = Judge(CONFIG, has_incumbent=True)
    assert feed(judge, 50, arm="incumbent").decision != "promote"


def test_a_healthy_pair_is_promoted_but_not_before_the_smallest_number_of_requests() -> None:
    judge = Judge(CONFIG.model_copy(update={"min_requests": 600}), has_incumbent=True)
    assert balanced(judge, 599) == Judgement("hold", "599 of 600 canary requests")
    assert balanced(judge, 1).decision == "promote"


def test_a_first_deployment_is_judged_by_the_absolute_limits_after_half_the_requests() -> None:
    judge = Judge(DeployConfig(), has_incumbent=False)
    assert feed(judge, 199).decision == "hold"
    assert feed(judge, 1).decision == "promote"
    assert "split" not in judge.evidence()


def test_the_reason_for_a_rollback_has_both_shares() -> None:
    judge = Judge(CONFIG, has_incumbent=True)
    balanced(judge, 20)
    judgement = feed(judge, 10, error=True)
    assert judgement == Judgement("rollback", "errors 33.3% vs 0.0% after 30 canary requests")


def test_a_burst_from_one_client_is_one_event() -> None:
    judge = Judge(CONFIG, has_incumbent=True)
    balanced(judge, 20)
    assert feed(judge, 500, error=True, client="unlucky").decision == "hold"
    assert feed(judge, 10, error=True).decision == "rollback"


def test_a_client_that_asks_often_does_not_speak_for_the_others() -> None:
    judge = Judge(CONFIG, has_incumbent=True)
    for index in range(50):
        feed(judge, 30, client=f"c{index}")
        feed(judge, 1, arm="incumbent")
    assert judge.decide(elapsed_s=0.0).decision == "hold"
    assert judge.evidence()["errors/promote"] < judge.thresholds()["errors/promote"]


@pytest.mark.parametrize("latency_ms", [math.nan, math.inf, -1.0])
def test_requests_that_cannot_be_measured_block_promotion(latency_ms: float) -> None:
    judge = Judge(CONFIG, has_incumbent=True)
    feed(judge, 1, latency_ms=latency_ms)
    assert balanced(judge, 800) == Judgement("hold", "1 requests could not be measured")
    assert judge.decide(elapsed_s=31.0).decision == "rollback"


def test_undecided_at_the_last_allowed_request_means_rollback() -> None:
    judge = Judge(CONFIG.model_copy(update={"max_requests": 300}), has_incumbent=True)
    judgement = balanced(judge, 150)
    assert judgement.decision == "rollback"
    assert judgement.reason.startswith("undecided after 300 requests")


def test_everybody_on_one_arm_is_a_wrong_split() -> None:
    judge = Judge(CONFIG.model_copy(update={"min_requests": 2000}), has_incumbent=True)
    assert feed(judge, 300).reason == "the split is wrong: 100.0% of 300 clients reached the canary instead of 50.0%"
