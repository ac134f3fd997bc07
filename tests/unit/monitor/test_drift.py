from collections.abc import Callable

import numpy as np
import pytest
from drift_streams import draw

from sightline.config.monitor import MonitorConfig
from sightline.errors import DataError
from sightline.monitor.drift import NUM_SIGNALS, compare, most_different
from sightline.monitor.sample import Sample

Stream = Callable[..., Sample]
SIMULATIONS = 200


def at_alpha(alpha: float, **changes: float) -> MonitorConfig:
    return MonitorConfig.model_validate({"alpha": alpha, "min_effect": 0.0, "num_permutations": 100, **changes})


@pytest.fixture(scope="module")
def null_p_values() -> np.ndarray:
    """Raw p-values of every signal over streams that do not drift, signals correlated as in real images."""
    config = at_alpha(0.05)
    rows = []
    for seed in range(SIMULATIONS):
        rng = np.random.default_rng(seed)
        signals = compare(draw(60, rng, num_dims=4), draw(50, rng, num_dims=4), config.model_copy(update={"seed": seed}))
        rows.append([[signal.p_value for signal in signals], [float(signal.drifted) for signal in signals]])
    return np.array(rows)


# 5 % of 200 is 10; 20 or more have a probability of 0.3 % if the rate is 5 %.
def test_streams_that_do_not_drift_raise_an_alarm_at_most_as_often_as_alpha_says(null_p_values: np.ndarray) -> None:
    assert (null_p_values[:, 1].max(axis=1) > 0).sum() < 20


def test_negative_control_the_uncorrected_tests_raise_false_alarms_far_too_often(null_p_values: np.ndarray) -> None:
    assert (null_p_values[:, 0].min(axis=1) <= 0.05).sum() >= 30


def test_each_test_alone_keeps_its_level(null_p_values: np.ndarray) -> None:
    assert ((null_p_values[:, 0] <= 0.05).sum(axis=0) < 20).all()


def test_a_shifted_stream_is_detected_on_the_signals_that_moved(stream: Stream) -> None:
    rng = np.random.default_rng(1)
    signals = {signal.name: signal for signal in compare(stream(200, rng), stream(300, rng, shift=1.0), MonitorConfig())}
    assert len(signals) == NUM_SIGNALS
    assert {name for name, signal in signals.items() if signal.drifted} == {"brightness", "confidence", "label", "embedding"}
    assert signals["brightness"].served_mean == pytest.approx(0.4, abs=0.02)
    assert signals["brightness"].reference_mean == pytest.approx(0.5, abs=0.02)
    assert signals["label"].detail.split()[0] in {"ok", "scratch"}


def test_drift_of_the_embedding_alone_is_detected_with_few_configured_permutations(stream: Stream) -> None:
    rng = np.random.default_rng(2)
    reference, served = stream(150, rng), stream(200, rng)
    moved = Sample(served.ids, served.labels, served.confidence_N, served.properties, served.embeddings_ND + 2.0)
    signals = compare(reference, moved, MonitorConfig(num_permutations=100, alpha=0.01))
    assert [signal.name for signal in signals if signal.drifted] == ["embedding"]


def test_a_certain_but_small_difference_does_not_count(stream: Stream) -> None:
    rng = np.random.default_rng(3)
    reference, served = stream(2000, rng), stream(2000, rng, shift=0.08)
    by_name = {signal.name: signal for signal in compare(reference, served, MonitorConfig(min_effect=0.3))}
    assert by_name["brightness"].p_adjusted < 0.01
    assert not by_name["brightness"].drifted
    by_name = {signal.name: signal for signal in compare(reference, served, MonitorConfig(min_effect=0.0))}
    assert by_name["brightness"].drifted


def test_the_same_seed_gives_the_same_signals(stream: Stream) -> None:
    rng = np.random.default_rng(4)
    reference, served = stream(700, rng), stream(900, rng)
    assert compare(reference, served, MonitorConfig()) == compare(reference, served, MonitorConfig())


def test_histograms_count_every_image_once(stream: Stream) -> None:
    rng = np.random.default_rng(5)
    for signal in compare(stream(100, rng), stream(80, rng, shift=1.0), MonitorConfig()):
        if signal.histogram is not None:
            assert (sum(signal.histogram.reference), sum(signal.histogram.served)) == (100, 80)


def test_a_constant_property_does_not_drift(stream: Stream) -> None:
    rng = np.random.default_rng(6)
    reference, served = stream(100, rng), stream(100, rng)
    for sample in (reference, served):
        sample.properties["highlights"] = np.zeros(100)
    assert not any(signal.drifted for signal in compare(reference, served, MonitorConfig()))


def test_one_image_is_no_stream(stream: Stream) -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(DataError, match="1 served"):
        compare(stream(10, rng), stream(1, rng), MonitorConfig())


def test_the_most_unusual_images_come_first(stream: Stream) -> None:
    rng = np.random.default_rng(8)
    reference, served = stream(100, rng), stream(60, rng)
    served.embeddings_ND[17] += 50.0
    served.embeddings_ND[3] += 20.0
    assert most_different(reference, served, limit=2) == (served.ids[17], served.ids[3])
    assert len(most_different(reference, served)) == 50
    assert most_different(reference, stream(0, rng)) == ()
