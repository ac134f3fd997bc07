"""A route that draws an arm per request: the judge's error rates hold when it is told who asked, not when each pod counts for itself.

This is why pods show their requests with a pseudonym of the client, instead of counters of clients (docs/decisions/0009).
"""

import numpy as np

from sightline.config.deploy import DeployConfig
from sightline.deploy.judge import UNDECIDED, Judge, Observation

CONFIG = DeployConfig(canary_share=0.1, max_requests=10_000, deadline_s=1e9)
NUM_RUNS = 100
NUM_CLIENTS, NUM_REQUESTS = 300, 6000
EVERY = 50  # requests between two looks, as pods are read twice a second


def proven_rollback(seed: int, *, counted_by_each_pod: bool) -> bool:
    """Whether a canary that is as good as the incumbent is rolled back on a proof; a few clients fail always, wherever they are sent."""
    random = np.random.default_rng(seed)
    clients = random.integers(0, NUM_CLIENTS, NUM_REQUESTS)
    on_canary = random.random(NUM_REQUESTS) < CONFIG.canary_share
    fails = np.arange(NUM_CLIENTS) < 4  # 1.3 %: below max_error_share, above its floor
    judge = Judge(CONFIG.model_copy(update={"min_requests": NUM_REQUESTS}), has_incumbent=True)
    for number, (client, canary) in enumerate(zip(clients, on_canary, strict=True), 1):
        name = f"{client}-{canary}" if counted_by_each_pod else str(client)
        judge.observe(Observation(name, "canary" if canary else "incumbent", bool(fails[client]), 5.0))
        if number % EVERY == 0:
            judgement = judge.decide(elapsed_s=0.0)
            if judgement.decision == "rollback":
                return not judgement.reason.startswith(UNDECIDED)
    return False


def test_a_healthy_canary_is_rarely_rolled_back_when_clients_are_known_across_pods() -> None:
    found = sum(proven_rollback(seed, counted_by_each_pod=False) for seed in range(NUM_RUNS))
    assert found <= 4  # at alpha = 1 %, more than 4 of 100 has a chance below 0.4 %


def test_negative_control_pods_that_count_clients_for_themselves_roll_healthy_canaries_back() -> None:
    found = sum(proven_rollback(seed, counted_by_each_pod=True) for seed in range(NUM_RUNS))
    assert found > NUM_RUNS / 2
