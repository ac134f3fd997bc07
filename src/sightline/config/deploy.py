"""Serving, canary and rollback."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sightline.config.base import Section


class DeployConfig(Section):
    """A canary under real requests, judged by an always-valid test; neither verdict by the deadline means rollback."""

    target: Literal["local", "kserve"] = "local"
    """Where the canary runs: server processes beside the step, or an InferenceService of KServe (`cluster.serving_namespace`)."""
    approval: Literal["none", "required"] = "none"
    """Whether a person has to approve the verdict (`sightline approve`) before the canary starts."""
    approval_timeout_s: float = Field(86_400.0, gt=0)
    """Seconds that a run waits for the approval; without one by then the candidate is rejected."""
    model: str = "sightline"
    """Name of the registered model, of the endpoint and of the InferenceService."""
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
    replay: bool = False
    """KServe: also send validation images through the route as clients, where real traffic is too little. The local target always does."""
    gateway: str = ""
    """KServe: address of the Gateway for replayed requests, `https://host:port`; empty: the address that the InferenceService states."""
    runtime: str = "sightline"
    """KServe: the ServingRuntime; the evidence comes from its `/observations` page."""
    replicas: int = Field(1, ge=1)
    """KServe: pods of a service that the first deployment makes; one that is there keeps its own number."""
    pod_port: int = Field(8080, ge=1, le=65535)
    """KServe: port of the pods that answers inference."""
    metrics_port: int = Field(8081, ge=1, le=65535)
    """KServe: port of the pods that has `/metrics` and `/observations`."""
    ready_timeout_s: float = Field(600.0, gt=0)
    """KServe: seconds in which the canary's pods have to be ready (pull, download, first inference)."""

    @model_validator(mode="after")
    def _whole_percent(self) -> Self:
        if self.target == "kserve" and abs(self.canary_share * 100 - round(self.canary_share * 100)) > 1e-9:
            raise ValueError(f"canary_share {self.canary_share:g} is no whole percentage, and KServe splits traffic by whole ones")
        return self
