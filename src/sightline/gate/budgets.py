"""Checks of what a model costs: size, latency, memory, money."""

from sightline.config.gate import GateConfig
from sightline.errors import UsageError
from sightline.evaluate.verdict import Check, CheckKind, CheckOutcome, Stage, Unit
from sightline.gate.measured import Measured
from sightline.gate.timing import Comparison, Quantile

_SECONDS_PER_HOUR = 3600


def check_budgets(policy: GateConfig) -> None:
    """Stops before anything is measured when a limit cannot be applied.

    Raises:
        UsageError: a limit for the cost without a price.
    """
    if policy.max_usd_per_1k is not None and policy.usd_per_hour is None:
        raise UsageError(
            "gate.max_usd_per_1k is set, but gate.usd_per_hour is not, so no cost is known",
            remedy="set gate.usd_per_hour to the price of the machine that serves, or take the limit away",
        )


def budget_checks(measured: Measured, policy: GateConfig, *, stage: Stage) -> list[Check]:
    """Size always; latency, memory and cost of a compiled candidate. A figure that has a limit and is missing never passes.

    Args:
        measured: what the candidate costs.
        policy: the limits; without one, memory and cost are shown when they are known, and not required.
        stage: trained candidates do not ship as they are, so only their size counts; predictions alone cost nothing that is known.
    """
    if stage == "predictions":
        return []
    checks = [_size(measured, policy)]
    if stage == "compiled":
        checks += [_latency(measured, policy), *_comparison(measured), *_memory(measured, policy), *_cost(measured, policy)]
    return checks


def cost_usd_per_1k(p50_ms: float, usd_per_hour: float) -> float:
    """The price of 1 000 single images one after the other: 1 000 x p50 seconds of a machine with this price per hour."""
    return p50_ms * usd_per_hour / _SECONDS_PER_HOUR


def _size(measured: Measured, policy: GateConfig) -> Check:
    size_mb = measured.size_bytes / 1e6
    outcome: CheckOutcome = "pass" if 0 < size_mb <= policy.max_size_mb else "fail"
    detail = f"{size_mb:.2f} MB, at most {policy.max_size_mb:g} MB" if size_mb else "the model has no file"
    return _check("model size", "size", "MB", size_mb, limit=policy.max_size_mb, outcome=outcome, detail=detail)


def _latency(measured: Measured, policy: GateConfig) -> Check:
    limit, value = policy.max_p95_ms, measured.p95_ms
    if value is None:
        detail = measured.problem.get("latency", "it was not measured")
        return _check("latency p95", "latency", "ms", None, limit=limit, outcome="fail", detail=detail)
    detail = f"{value:.2f} ms at batch 1, at most {limit:g} ms"
    return _check("latency p95", "latency", "ms", value, limit=limit, outcome=_within(value, limit), detail=detail)


def _memory(measured: Measured, policy: GateConfig) -> list[Check]:
    limit, value = policy.max_memory_mb, measured.memory_mb
    if value is None and limit is None:
        return []
    if value is None:
        detail = f"not measured: {measured.problem.get('memory', 'no reason was given')}"
        return [_check("memory", "memory", "MB", None, limit=limit, outcome="inconclusive", detail=detail)]
    most = "no limit" if limit is None else f"at most {limit:g} MB"
    detail = f"loading the model and answering single images adds {value:.1f} MB to a process, {most}"
    return [_check("memory", "memory", "MB", value, limit=limit, outcome=_within(value, limit), detail=detail)]


def _cost(measured: Measured, policy: GateConfig) -> list[Check]:
    limit, price = policy.max_usd_per_1k, policy.usd_per_hour
    if price is None or measured.p50_ms is None:
        if limit is None:
            return []
        detail = "not known: gate.usd_per_hour is not set" if price is None else "not known: the model has no measured median latency"
        return [_check("cost per 1 000 images", "cost", "USD", None, limit=limit, outcome="inconclusive", detail=detail)]
    value = cost_usd_per_1k(measured.p50_ms, price)
    most = "no limit" if limit is None else f"at most {limit:g} USD"
    detail = f"{value:.2g} USD per 1 000 images, {most}: p50 {measured.p50_ms:.3g} ms at batch 1 × {price:g} USD per hour ÷ 3 600"
    return [_check("cost per 1 000 images", "cost", "USD", value, limit=limit, outcome=_within(value, limit), detail=detail)]


def _comparison(measured: Measured) -> list[Check]:
    found, refused = measured.against_champion, measured.problem.get("champion", "")
    name, kinds = "latency against the current model", {"kind": "latency", "unit": "ms", "lower_is_better": True, "metric": "latency p50"}
    if found is None:
        detail = f"not timed: {refused}"
        return [Check(name=name, required=False, outcome="info", detail=detail, **kinds)] if refused else []
    values = {
        "reference": found.p50.champion_ms,
        "value": found.p50.candidate_ms,
        "estimate": found.p50.difference_ms,
        "interval": found.p50.difference_interval,
        "test": "order-statistic intervals, calls in turn",
        "detail": _ratios(found),
    }
    return [Check(name=name, required=False, outcome="info", **kinds, **values)]


def _ratios(found: Comparison) -> str:
    parts = [_ratio("p50", found.p50)] + ([_ratio("p95", found.p95)] if found.p95 else [])
    return f"{'; '.join(parts)}; {found.num_calls} calls of each, in turn"


def _ratio(name: str, quantile: Quantile) -> str:
    low, high = quantile.ratio_interval
    speeds = f"{quantile.candidate_ms:.3g} ms against {quantile.champion_ms:.3g} ms"
    return f"{name} {speeds}, ×{quantile.ratio:.2f} [{low:.2f}, {high:.2f}]"


def _within(value: float, limit: float | None) -> CheckOutcome:
    if limit is None:
        return "info"
    return "pass" if value <= limit else "fail"


def _check(
    name: str, kind: CheckKind, unit: Unit, value: float | None, *, limit: float | None, outcome: CheckOutcome, detail: str
) -> Check:
    return Check(
        name=name,
        kind=kind,
        unit=unit,
        metric=name,
        lower_is_better=True,
        required=limit is not None,
        outcome=outcome,
        value=value,
        estimate=value,
        margin=limit,
        detail=detail,
    )
