"""Serving, canary and rollback."""

from typing import Literal

from pydantic import Field

from sightline.config.base import Section


class DeployConfig(Section):
    """A canary under real requests, judged by an always-valid test; neither verdict by the deadline means rollback."""

    model: str = "sightline"
    """Name of the registered model and of the endpoint."""
    host: str = "127.0.0.1"
    """Address the router and the servers bind to."""
    port: int = Field(0, ge=0, le=65535)
    """Port of the router; 0 takes a free one."""
    canary_share: float = Field(0.5, gt=0, lt=1)
    """Share of clients that the canary answers, in (0, 1)."""
    min_requests: int = Field(400, ge=1)
    """Requests that the canary answers before it can be promoted."""
    max_requests: int = Field(4000, ge=1)
    """Requests in total after which an undecided canary is rolled back."""
    deadline_s: float = Field(60.0, gt=0)
    """Seconds after which an undecided canary is rolled back."""
    num_clients: int = Field(4, ge=1)
    """Concurrent clients that replay traffic."""
    latency_slo_ms: float = Field(150.0, gt=0)
    """A request slower than this counts as slow, in milliseconds."""
    alpha: float = Field(0.01, gt=0, lt=0.5)
    """Probability of rolling back a healthy canary, at any number of looks, over all guardrails."""
    beta: float = Field(0.05, gt=0, lt=0.5)
    """Probability of promoting a canary that is bad on a guardrail."""
    max_error_share: float = Field(0.02, gt=0, lt=1)
    """Share of failed requests that is bad in any case."""
    max_slow_share: float = Field(0.1, gt=0, lt=1)
    """Share of slow requests that is bad in any case."""
    bad_risk_ratio: float = Field(1.5, gt=1)
    """A canary with this many times the incumbent's share of events is bad."""
    num_sentinels: int = Field(24, ge=1)
    """Golden images replayed through the live endpoint; their answers must be those that the gate saw."""
    fault: Literal["none", "errors", "slow", "preprocessing"] = "none"
    """Rollback drill: makes the canary misbehave in this way."""
    request_timeout_s: float = Field(2.0, gt=0)
    """A request that the canary has not answered by then is answered by the incumbent."""
