"""Decides over a canary after any request: hold, promote or roll back, with bounded error rates at any number of looks.

For each guardrail (errors, slow answers) let p be the chance that a client without an event so far has one on the canary, r the risk
ratio canary : incumbent, and floor = max_share / 2.

* A guardrail is **healthy** when p <= max_share and (r <= 1 or p <= floor).
* A guardrail is **bad** when p >= max_share, or (r >= bad_risk_ratio and p >= floor).

Between the two lies an indifference zone. The floor keeps a ratio of tiny numbers (one event against none) from deciding anything, and
it lets a canary without any event be promoted although no ratio can be estimated.

* Rollback rejects "healthy" = A and (R or F), with A: p <= max_share, R: r <= 1, F: p <= floor. An intersection of nulls is rejected by
  the average of their e-processes (valid when each of them is), a union by the minimum: ``E = (E_A + min(E_R, E_F)) / 2``. A healthy
  canary is rolled back with probability at most alpha over all guardrails and the check of the split, which get fixed parts of it. The
  deadline is not part of this: an undecided canary always goes.
* Promotion rejects "bad" = A' or (R' and F'), with A': p >= max_share, R': r >= bad_risk_ratio, F': p >= floor:
  ``E = min(E_A', (E_R' + E_F') / 2)``, for every guardrail at level beta. A canary that is bad on any guardrail is promoted with
  probability at most beta; no split is needed because all must pass.
* Without an incumbent only A and A' are judged.

One event at most is counted per client and guardrail: a burst from one client is one event. Against the canary, every request of a
client without an event yet is a trial; in its favour, a client counts once, however often it asks.

The error rates are simulated in tests/stats. The reasons are in docs/decisions/0001-canary-absolute-and-relative-evidence.md.
"""

import math
from dataclasses import dataclass
from typing import Literal

from sightline.config.deploy import DeployConfig
from sightline.deploy.evidence import RatioEvidence, ShareEvidence, SplitEvidence, log_mean

Arm = Literal["incumbent", "canary"]
Decision = Literal["hold", "promote", "rollback"]
GUARDRAILS = ("errors", "slow")
FLOOR_FACTOR = 0.5
# How the reason of a rollback without a proof starts.
UNDECIDED = "undecided after"
# Parts of alpha: one per guardrail, the rest for the split.
_GUARDRAIL_ALPHA = 0.45
_SPLIT_ALPHA = 0.1
# The observed share is pulled towards the configured one by this many clients, so that the first few events are weighed sensibly.
_SHARE_PRIOR = 100


@dataclass(frozen=True)
class Observation:
    """One request as the router saw it.

    Attributes:
        client: the unit of randomisation.
        arm: who was asked first; an answer by the incumbent in the canary's place is the canary's failure.
        error: no usable answer (5xx, timeout, refused connection, invalid output).
        latency_ms: until the arm answered or failed.
    """

    client: str
    arm: Arm
    error: bool
    latency_ms: float


@dataclass(frozen=True)
class Judgement:
    """What to do now, and why in one line for people."""

    decision: Decision
    reason: str


class _Guardrail:
    """The evidence for and against the canary on one kind of event."""

    def __init__(self, name: str, max_share: float, bad_risk_ratio: float, *, relative: bool) -> None:
        self.name = name
        self._relative = relative
        floor = max_share * FLOOR_FACTOR
        self._above = {"limit": ShareEvidence(max_share, "above"), "floor": ShareEvidence(floor, "above")}
        self._below = {"limit": ShareEvidence(max_share, "below"), "floor": ShareEvidence(floor, "below")}
        self._worse = RatioEvidence(1.0, "above")
        self._not_worse = RatioEvidence(bad_risk_ratio, "below")
        self._clients_with_event: set[str] = set()
        self._has_new_event = False

    def observe(self, client: str, *, canary: bool, event: bool, first: bool, share: float) -> None:
        if client in self._clients_with_event:
            return
        if event:
            self._clients_with_event.add(client)
            self._has_new_event = True
            self._worse.event(canary=canary, share=share)
            self._not_worse.event(canary=canary, share=share)
        if not canary:
            return
        for evidence in self._above.values():
            (evidence.event if event else evidence.quiet)()
        for evidence in self._below.values():
            if event:
                evidence.event()
            elif first:
                evidence.quiet()

    def reaches(self, level: float) -> bool:
        """Whether the evidence against the canary reaches ``level``; it only falls between events, so most looks cost nothing."""
        fresh, self._has_new_event = self._has_new_event, False
        return fresh and self.log_rollback >= level

    @property
    def log_rollback(self) -> float:
        limit = self._above["limit"].log_value
        if not self._relative:
            return limit
        return log_mean([limit, min(self._worse.log_value, self._above["floor"].log_value)])

    @property
    def log_promote(self) -> float:
        limit = self._below["limit"].log_value
        if not self._relative:
            return limit
        return min(limit, log_mean([self._not_worse.log_value, self._below["floor"].log_value]))


class Judge:
    """Watches every request and can be asked after each of them.

    Args:
        config: the policy.
        has_incumbent: False for a first deployment, where only absolute limits can be judged and half of ``min_requests`` is enough.
    """

    def __init__(self, config: DeployConfig, *, has_incumbent: bool) -> None:
        self._config = config
        self._has_incumbent = has_incumbent
        self._split = SplitEvidence(config.canary_share)
        limits = {"errors": config.max_error_share, "slow": config.max_slow_share}
        self._guardrails = [_Guardrail(name, limits[name], config.bad_risk_ratio, relative=has_incumbent) for name in GUARDRAILS]
        self._clients: set[str] = set()
        self._num = {"incumbent": 0, "canary": 0}
        self._events = {(arm, name): 0 for arm in ("incumbent", "canary") for name in GUARDRAILS}
        self._num_unusable = 0
        self.min_requests = config.min_requests if has_incumbent else (config.min_requests + 1) // 2

    @property
    def num_requests(self) -> int:
        """Requests seen, of both arms."""
        return self._num["incumbent"] + self._num["canary"]

    def observe(self, observation: Observation) -> None:
        """Takes one request in; one without a finite latency is no evidence and blocks promotion."""
        if not math.isfinite(observation.latency_ms) or observation.latency_ms < 0:
            self._num_unusable += 1
            return
        canary = observation.arm == "canary"
        first = observation.client not in self._clients
        share = (_SHARE_PRIOR * self._config.canary_share + self._split.num_canary) / (_SHARE_PRIOR + len(self._clients))
        events = {"errors": observation.error, "slow": observation.latency_ms > self._config.latency_slo_ms}
        for guardrail in self._guardrails:
            event = events[guardrail.name]
            guardrail.observe(observation.client, canary=canary, event=event, first=first, share=share)
            self._events[observation.arm, guardrail.name] += event
        self._num[observation.arm] += 1
        if first:
            self._clients.add(observation.client)
            self._split.unit(canary=canary)

    def decide(self, *, elapsed_s: float) -> Judgement:
        """The decision as of now; at the deadline or the last allowed request an undecided canary is rolled back.

        Args:
            elapsed_s: seconds since the canary started.
        """
        against = self._against()
        if against:
            return Judgement("rollback", against)
        missing = self._missing()
        if not missing:
            return Judgement("promote", f"no guardrail is bad after {self._num['canary']} canary requests")
        if elapsed_s >= self._config.deadline_s:
            return Judgement("rollback", f"{UNDECIDED} {self._config.deadline_s:g} s: {missing}")
        if self.num_requests >= self._config.max_requests:
            return Judgement("rollback", f"{UNDECIDED} {self.num_requests} requests: {missing}")
        return Judgement("hold", missing)

    def evidence(self) -> dict[str, float]:
        """Natural logarithms of the e-values: ``<guardrail>/rollback``, ``<guardrail>/promote`` and, with an incumbent, ``split``."""
        found = {}
        for guardrail in self._guardrails:
            found[f"{guardrail.name}/rollback"] = guardrail.log_rollback
            found[f"{guardrail.name}/promote"] = guardrail.log_promote
        return {**found, "split": self._split.log_value} if self._has_incumbent else found

    def thresholds(self) -> dict[str, float]:
        """The natural logarithm that each e-value must reach, by the keys of ``evidence``."""
        found = {}
        for name in GUARDRAILS:
            found[f"{name}/rollback"] = -math.log(self._config.alpha * _GUARDRAIL_ALPHA)
            found[f"{name}/promote"] = -math.log(self._config.beta)
        return {**found, "split": -math.log(self._config.alpha * _SPLIT_ALPHA)} if self._has_incumbent else found

    def _against(self) -> str:
        """Why the canary must go; empty while there is no proof."""
        level = -math.log(self._config.alpha * _GUARDRAIL_ALPHA)
        reached = [guardrail.name for guardrail in self._guardrails if guardrail.reaches(level)]
        if reached:
            return ", ".join(self._described(name) for name in reached) + f" after {self._num['canary']} canary requests"
        if self._has_incumbent and self._split.log_value >= -math.log(self._config.alpha * _SPLIT_ALPHA):
            seen = self._split.num_canary / max(1, len(self._clients))
            wanted = self._config.canary_share
            return f"the split is wrong: {seen:.1%} of {len(self._clients)} clients reached the canary instead of {wanted:.1%}"
        return ""

    def _described(self, name: str) -> str:
        shares = {arm: self._events[arm, name] / self._num[arm] for arm in ("canary", "incumbent") if self._num[arm]}
        text = f"{name} {shares.get('canary', 0.0):.1%}"
        return f"{text} vs {shares['incumbent']:.1%}" if "incumbent" in shares else text

    def _missing(self) -> str:
        """What still stands between the canary and promotion; empty when nothing does."""
        if not self._num["canary"]:
            return "the canary has had no requests"
        if self._num_unusable:
            return f"{self._num_unusable} requests could not be measured"
        if self._num["canary"] < self.min_requests:
            return f"{self._num['canary']} of {self.min_requests} canary requests"
        level = -math.log(self._config.beta)
        # Not "<": NaN must never compare as enough.
        unproven = [guardrail.name for guardrail in self._guardrails if not guardrail.log_promote >= level]
        return f"no evidence yet that {' and '.join(unproven)} are within limits" if unproven else ""
