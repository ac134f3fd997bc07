import numpy as np
import pytest

from sightline.compile.benchmark import describe_machine, measure
from sightline.runtimes.base import Prediction


class Recorder:
    """Answers nothing and writes down who was called with how many images."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def predict(self, images):
        self.calls.append((self.name, len(images)))
        return Prediction(np.zeros((len(images), 2), np.float32), np.zeros((len(images), 2), np.float32))


def test_every_round_times_every_variant_and_starts_with_another_one():
    calls = []
    timings = measure({name: Recorder(name, calls) for name in "abc"}, np.zeros((2, 4, 4, 3), np.uint8), rounds=6, throughput_batch=5)
    single = [name for name, size in calls if size == 1][3 * 5 :]
    rounds = ["".join(single[start : start + 15 : 5]) for start in range(0, len(single), 15)]
    assert rounds == ["abc", "bca", "cab"] * 2
    assert {size for _, size in calls} == {1, 5}
    assert all(0 < timing.p50_ms <= timing.p95_ms and timing.throughput_ips > 0 for timing in timings.values())


@pytest.mark.parametrize("num_images", [1, 3, 9])
def test_batches_are_filled_from_however_many_images_there_are(num_images):
    calls = []
    measure({"a": Recorder("a", calls)}, np.zeros((num_images, 4, 4, 3), np.uint8), rounds=5, throughput_batch=4)
    assert {size for _, size in calls} == {1, 4}


def test_the_machine_is_described():
    machine = describe_machine(3)
    assert machine["threads"] == 3
    assert machine["cpu"]
    assert {"onnxruntime", "openvino", "torch"} <= set(machine["versions"])
