import pytest

from sightline.config.gate import GateConfig
from sightline.errors import UsageError
from sightline.evaluate.verdict import Check, overall_outcome
from sightline.gate.budgets import budget_checks, check_budgets, cost_usd_per_1k
from sightline.gate.measured import Measured
from sightline.gate.timing import Comparison, Quantile

GOOD = Measured(size_bytes=3_000_000, p50_ms=1.5, p95_ms=2.0, memory_mb=80.0)
COMPARISON = Comparison(400, Quantile(1.5, (1.4, 1.6), 2.0, (1.9, 2.1)), Quantile(3.0, (2.5, 3.5), 3.0, (2.5, 3.5)))


def _checks(measured: Measured = GOOD, *, stage="compiled", **policy) -> dict[str, Check]:
    return {check.name: check for check in budget_checks(measured, GateConfig(**policy), stage=stage)}


def test_every_check_has_its_unit_and_lower_is_better():
    checks = _checks(max_memory_mb=100, usd_per_hour=0.5, max_usd_per_1k=0.01)
    assert {check.kind: check.unit for check in checks.values()} == {"size": "MB", "latency": "ms", "memory": "MB", "cost": "USD"}
    assert all(check.lower_is_better and check.required and check.outcome == "pass" for check in checks.values())
    assert checks["model size"].value == 3.0


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        ({"max_size_mb": 2.9}, "model size"),
        ({"max_p95_ms": 1.9}, "latency p95"),
        ({"max_memory_mb": 79}, "memory"),
        ({"usd_per_hour": 3.6, "max_usd_per_1k": 0.001}, "cost per 1 000 images"),
    ],
)
def test_what_is_over_its_limit_fails(policy, name):
    checks = _checks(**policy)
    assert checks[name].outcome == "fail"
    assert overall_outcome(list(checks.values())) == "fail"


@pytest.mark.parametrize(
    ("measured", "policy"),
    [
        (Measured(size_bytes=0, p50_ms=1, p95_ms=1), {}),
        (Measured(size_bytes=1, problem={"latency": "the model has no benchmark.json"}), {}),
        (Measured(size_bytes=1, p50_ms=1, p95_ms=1, problem={"memory": "no answer"}), {"max_memory_mb": 10}),
        (Measured(size_bytes=1, p95_ms=1), {"usd_per_hour": 1, "max_usd_per_1k": 1}),
        (Measured(size_bytes=1, p50_ms=1, p95_ms=1), {"max_usd_per_1k": 1}),
    ],
)
def test_a_missing_figure_with_a_limit_never_passes(measured, policy):
    assert overall_outcome(list(_checks(measured, **policy).values())) != "pass"


def test_a_missing_latency_says_why():
    assert _checks(Measured(1, problem={"latency": "it has no benchmark"}))["latency p95"].detail == "it has no benchmark"


def test_without_a_limit_memory_and_cost_are_shown_when_they_are_known():
    checks = _checks(usd_per_hour=2)
    assert {name: check.outcome for name, check in checks.items() if not check.required} == {
        "memory": "info",
        "cost per 1 000 images": "info",
    }
    assert set(_checks(Measured(1, 1.0, 1.0))) == {"model size", "latency p95"}


def test_the_cost_is_the_price_of_a_thousand_medians():
    # 1 000 images of 36 ms each take 36 s, a hundredth of an hour.
    assert cost_usd_per_1k(36.0, 5.0) == pytest.approx(0.05)
    detail = _checks(usd_per_hour=5)["cost per 1 000 images"].detail
    assert "p50 1.5 ms at batch 1 × 5 USD per hour ÷ 3 600" in detail


def test_a_trained_candidate_has_a_size_only_and_predictions_cost_nothing_known():
    assert set(_checks(stage="trained", usd_per_hour=1)) == {"model size"}
    assert _checks(stage="predictions") == {}


def test_the_comparison_with_the_champion_is_information_with_a_ratio_and_its_interval():
    check = _checks(Measured(1, 1.5, 2.0, against_champion=COMPARISON))["latency against the current model"]
    assert (check.required, check.outcome, check.unit) == (False, "info", "ms")
    assert (check.reference, check.value, check.estimate) == (2.0, 1.5, -0.5)
    assert check.interval == pytest.approx((-0.7, -0.3))
    assert "p50 1.5 ms against 2 ms, ×0.75 [0.67, 0.84]" in check.detail
    assert "p95 3 ms against 3 ms, ×1.00" in check.detail


def test_a_champion_that_cannot_be_loaded_is_named_and_blocks_nothing():
    check = _checks(Measured(1, 1.5, 2.0, problem={"champion": "no NVIDIA GPU"}))["latency against the current model"]
    assert (check.required, check.outcome, check.detail) == (False, "info", "not timed: no NVIDIA GPU")


def test_a_limit_for_the_cost_without_a_price_is_a_usage_error():
    with pytest.raises(UsageError, match="max_usd_per_1k is set") as error:
        check_budgets(GateConfig(max_usd_per_1k=1.0))
    assert "usd_per_hour" in error.value.remedy
    check_budgets(GateConfig(max_usd_per_1k=1.0, usd_per_hour=1.0))
    check_budgets(GateConfig(usd_per_hour=1.0))
