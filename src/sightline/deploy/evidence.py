"""Evidence that may be looked at after every request: mixtures of likelihood ratios that are supermartingales under a null hypothesis.

By Ville's inequality such a process, started at 1, exceeds 1/alpha with probability at most alpha, however often it is looked at.
Source: Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38 (2023).
"""

import math
from collections.abc import Sequence
from typing import Literal

Direction = Literal["above", "below"]

# Alternatives as multiples of the limit. Few, because each one costs log(number) of evidence.
_ABOVE = (1.5, 3.0, 6.0, 12.0)
_BELOW = (0.0, 0.25, 0.5, 0.75)
_BELOW_WEIGHTS = (0.5, 1 / 6, 1 / 6, 1 / 6)  # most healthy canaries have no event at all
_RATIOS_ABOVE = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_RATIOS_BELOW = (0.8, 2 / 3, 0.5, 0.33, 0.1)


def log_mean(logs: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """log of the weighted mean of exp(logs); equal weights by default; -inf counts as zero."""
    top = max(logs)
    if top == -math.inf:
        return top
    if weights is None:
        return top + math.log(sum([math.exp(value - top) for value in logs]) / len(logs))
    return top + math.log(sum([weight * math.exp(value - top) for weight, value in zip(weights, logs, strict=True)]))


class ShareEvidence:
    """Evidence that the chance of an event is above (or below) ``limit``.

    Null hypothesis for "above": each trial, given all before it, has an event with chance at most ``limit``; for "below": at least that.
    The chance may change from trial to trial.
    """

    def __init__(self, limit: float, direction: Direction) -> None:
        if not 0 < limit < 1:
            raise ValueError(f"a share limit lies in (0, 1), not {limit}")
        halfway = (1 + limit) / 2
        above = (*(limit * factor for factor in _ABOVE if limit * factor < halfway), halfway)
        chances = above if direction == "above" else tuple(limit * factor for factor in _BELOW)
        self._weights = [1 / len(chances)] * len(chances) if direction == "above" else list(_BELOW_WEIGHTS)
        self._event_logs = [math.log(chance / limit) if chance else -math.inf for chance in chances]
        self._quiet_logs = [math.log((1 - chance) / (1 - limit)) for chance in chances]
        self.num_events = 0
        self.num_quiet = 0

    def event(self) -> None:
        """A trial with an event."""
        self.num_events += 1

    def quiet(self) -> None:
        """A trial without one."""
        self.num_quiet += 1

    @property
    def log_value(self) -> float:
        """Natural logarithm of the e-value; 0 before the first trial."""
        # -inf * 0 is nan, hence the condition.
        logs = [
            (self.num_events * event if self.num_events else 0.0) + self.num_quiet * quiet
            for event, quiet in zip(self._event_logs, self._quiet_logs, strict=True)
        ]
        return log_mean(logs, self._weights)


class RatioEvidence:
    """Evidence that the canary's event rate is above (or below) ``ratio`` times the incumbent's, whatever that rate does over time.

    Under a risk ratio r, an event belongs to the canary with chance theta(r) = w r / (w r + 1 - w), where w is the canary's share of the
    traffic just before it. Null hypothesis for "above": r is at most ``ratio``; for "below": at least.
    """

    def __init__(self, ratio: float, direction: Direction) -> None:
        self._ratio = ratio
        self._alternatives = [ratio * factor for factor in (_RATIOS_ABOVE if direction == "above" else _RATIOS_BELOW)]
        self._logs = [0.0] * len(self._alternatives)

    def event(self, *, canary: bool, share: float) -> None:
        """An event of either arm.

        Args:
            canary: whose event it is.
            share: the canary's share of the traffic before this request, in (0, 1).
        """
        null = _theta(self._ratio, share)
        for index, ratio in enumerate(self._alternatives):
            theta = _theta(ratio, share)
            self._logs[index] += math.log(theta / null) if canary else math.log((1 - theta) / (1 - null))

    @property
    def log_value(self) -> float:
        """Natural logarithm of the e-value; 0 before the first event."""
        return log_mean(self._logs)


class SplitEvidence:
    """Evidence that clients are not split as configured: a Beta-binomial Bayes factor against the exact share.

    Source: Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
    """

    _CONCENTRATION = 1000.0  # expects small deviations: finds 12 % instead of 10 % after a median of about 4,000 clients

    def __init__(self, share: float) -> None:
        self._share = share
        self.num_canary = 0
        self.num_incumbent = 0

    def unit(self, *, canary: bool) -> None:
        """A client seen for the first time."""
        if canary:
            self.num_canary += 1
        else:
            self.num_incumbent += 1

    @property
    def log_value(self) -> float:
        """Natural logarithm of the e-value; 0 before the first client."""
        ours, theirs = self._CONCENTRATION * self._share, self._CONCENTRATION * (1 - self._share)
        marginal = _log_beta(ours + self.num_canary, theirs + self.num_incumbent) - _log_beta(ours, theirs)
        return marginal - self.num_canary * math.log(self._share) - self.num_incumbent * math.log(1 - self._share)


def _theta(ratio: float, share: float) -> float:
    return share * ratio / (share * ratio + 1 - share)


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)
