import numpy as np
import pytest

from sightline.gate.timing import Contender, compare, quantile_interval
from sightline.runtimes.base import Prediction

IMAGES = np.zeros((3, 8, 8, 3), np.uint8)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Model:
    """Takes as long as it is told; the machine gets slower by ``drift`` with each second that passes."""

    def __init__(self, clock: Clock, seconds: float, *, spread: float = 0.0, drift: float = 0.0, log: list[str] | None = None) -> None:
        self._clock, self._seconds, self._drift = clock, seconds, drift
        self._rng, self._spread = np.random.default_rng(int(seconds * 1e6)), spread
        self._log = log
        self.name = f"{seconds}"

    def predict(self, images_NHWC: np.ndarray) -> Prediction:
        assert images_NHWC.shape == (1, 8, 8, 3)
        if self._log is not None:
            self._log.append(self.name)
        self._clock.now += (self._seconds + self._rng.exponential(self._spread)) * (1 + self._drift * self._clock.now)
        return Prediction(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32))


def _compare(new: float, old: float, **changes):
    clock = Clock()
    models = Model(clock, new, **changes), Model(clock, old, **changes)
    return compare(*(Contender(model, IMAGES) for model in models), clock=clock)


def _ranks(num: int, share: float, confidence: float) -> tuple[float, float] | None:
    return quantile_interval(np.arange(1.0, num + 1), share, confidence)


def test_the_ranks_for_a_median_are_those_of_the_sign_test():
    assert _ranks(10, 0.5, 0.95) == (2, 9)
    assert _ranks(30, 0.5, 0.95) == (10, 21)
    assert _ranks(70, 0.5, 0.95) == (27, 44)


@pytest.mark.parametrize(("num", "share"), [(20, 0.5), (101, 0.5), (400, 0.5), (200, 0.95), (400, 0.95)])
def test_both_tails_are_within_their_half_of_the_level_and_no_rank_could_be_closer(num, share):
    from scipy.stats import binom

    low, high = _ranks(num, share, 0.95)
    below = binom(num, share)
    assert below.cdf(low - 1) <= 0.025 < below.cdf(low)
    assert below.sf(high - 1) <= 0.025 < below.sf(high - 2)


def test_an_interval_covers_its_quantile_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = {0.5: 0, 0.95: 0}
    for _ in range(1500):
        values = rng.exponential(size=200)
        for share in hits:
            low, high = quantile_interval(values, share, 0.95)
            hits[share] += low <= -np.log(1 - share) <= high
    assert min(hits.values()) >= 0.94 * 1500


def test_too_few_values_have_no_interval():
    assert quantile_interval(np.array([]), 0.5, 0.95) is None
    assert _ranks(5, 0.5, 0.95) is None
    assert _ranks(60, 0.95, 0.95) is None


def test_a_model_of_twice_the_speed_is_seen_as_such():
    found = _compare(0.001, 0.002, spread=0.0002)
    assert found.num_calls == 400
    low, high = found.p50.ratio_interval
    assert low < found.p50.ratio < high < 0.7
    assert found.p95 is not None
    assert found.p50.difference_interval[0] < found.p50.difference_ms < found.p50.difference_interval[1] < 0


def test_equal_models_on_a_machine_that_slows_down_are_equal_because_they_take_turns():
    found = _compare(0.001, 0.001, spread=0.0001, drift=5.0)
    low, high = found.p50.ratio_interval
    assert low <= 1 <= high
    assert abs(found.p50.ratio - 1) < 0.05


def test_they_swap_who_comes_first():
    clock, log = Clock(), []
    compare(Contender(Model(clock, 0.001, log=log), IMAGES), Contender(Model(clock, 0.002, log=log), IMAGES), clock=clock)
    assert log[10:16] == ["0.001", "0.002", "0.002", "0.001", "0.001", "0.002"]


def test_the_time_is_bounded_and_too_few_calls_say_nothing():
    found = _compare(0.02, 0.02)
    assert 60 <= found.num_calls <= 80
    assert found.p95 is None
    assert _compare(0.5, 0.5) is None
