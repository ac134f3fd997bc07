"""Times two models in turn in one process, so that whatever else the machine does hits both alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.evaluate.paired import Floats
from sightline.runtimes.base import Predictor

CONFIDENCE = 0.95
_WARM_UP_CALLS = 5
_CALLS = 400
# Below this not even the median has an interval worth showing.
_MIN_CALLS = 20


@dataclass(frozen=True)
class Contender:
    """A loaded model and images at its size, uint8 [n, size, size, 3], n at least 1; they are asked for one at a time."""

    predictor: Predictor
    images_NHWC: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Quantile:
    """One quantile of the latency of both models in milliseconds, each with an interval."""

    candidate_ms: float
    candidate_interval: tuple[float, float]
    champion_ms: float
    champion_interval: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Candidate over champion; below 1 the candidate is faster."""
        return self.candidate_ms / self.champion_ms

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """Holds the true ratio whenever both intervals hold their quantiles."""
        return self.candidate_interval[0] / self.champion_interval[1], self.candidate_interval[1] / self.champion_interval[0]

    @property
    def difference_ms(self) -> float:
        """Candidate minus champion."""
        return self.candidate_ms - self.champion_ms

    @property
    def difference_interval(self) -> tuple[float, float]:
        """Holds the true difference whenever both intervals hold their quantiles."""
        return self.candidate_interval[0] - self.champion_interval[1], self.candidate_interval[1] - self.champion_interval[0]


@dataclass(frozen=True)
class Comparison:
    """Latency at batch 1 of candidate and champion.

    Attributes:
        num_calls: timed calls of each.
        p50: the medians.
        p95: the 95th percentiles; None when there were too few calls for an interval.
    """

    num_calls: int
    p50: Quantile
    p95: Quantile | None


def compare(
    candidate: Contender, champion: Contender, *, budget_s: float = 3.0, clock: Callable[[], float] = time.perf_counter
) -> Comparison | None:
    """The comparison of 400 calls of each, fewer when the time is over; None when there was time for less than 20.

    The two take turns and swap who comes first, so drift of the machine's speed (clock rate, neighbours) does not favour either. Ratio and
    difference intervals hold with at least 95 % when calls of one model are independent of each other.

    Args:
        candidate: the model that is judged.
        champion: the model that serves now.
        budget_s: time after which no further call is made.
        clock: seconds; read before and after each call.
    """
    started = clock()
    contenders = (candidate, champion)
    for contender in contenders:
        for _ in range(_WARM_UP_CALLS):
            contender.predictor.predict(contender.images_NHWC[:1])
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(_CALLS):
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            seconds[index].append(_timed(contenders[index], turn, clock))
        if clock() - started > budget_s:
            break
    num_calls = len(seconds[0])
    p50 = _quantile(seconds, 0.5) if num_calls >= _MIN_CALLS else None
    return Comparison(num_calls, p50, _quantile(seconds, 0.95)) if p50 else None


def _timed(contender: Contender, turn: int, clock: Callable[[], float]) -> float:
    row = turn % len(contender.images_NHWC)
    image = np.ascontiguousarray(contender.images_NHWC[row : row + 1])
    before = clock()
    contender.predictor.predict(image)
    return clock() - before


def _quantile(seconds: tuple[list[float], list[float]], share: float) -> Quantile | None:
    values = [np.asarray(part, dtype=np.float64) * 1e3 for part in seconds]
    # Both intervals hold together with CONFIDENCE when each may miss half as often (Bonferroni).
    intervals = [quantile_interval(part, share, 1 - (1 - CONFIDENCE) / 2) for part in values]
    if intervals[0] is None or intervals[1] is None or intervals[1][0] <= 0:
        return None
    new, old = (float(np.quantile(part, share)) for part in values)
    return Quantile(new, intervals[0], old, intervals[1])


def quantile_interval(values_N: Floats, share: float, confidence: float) -> tuple[float, float] | None:
    """A confidence interval for a quantile between two of the observed values, whatever the distribution; None with too few values.

    The number of values below the quantile is binomial, so ranks are taken that leave at most (1 - confidence) / 2 on either side.

    Args:
        values_N: independent observations.
        share: which quantile, in (0, 1).
        confidence: in (0, 1).

    Source: H. A. David and H. N. Nagaraja (2003), Order Statistics, 3rd edition, section 7.1.
    """
    from scipy.special import bdtr

    num, tail = len(values_N), (1 - confidence) / 2
    if not num:
        return None
    at_most = bdtr(np.arange(num), num, share)
    low = int((at_most <= tail).sum())
    # The smallest rank u with P(at least u values below the quantile) <= tail, that is P(at most u - 1) >= 1 - tail.
    high = int((at_most < 1 - tail).sum()) + 1
    if low < 1 or high > num:
        return None
    ordered = np.sort(values_N)
    return float(ordered[low - 1]), float(ordered[high - 1])
