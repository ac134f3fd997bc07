"""Runs only where there is an NVIDIA GPU (and, for plans, TensorRT); says what is missing elsewhere."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sightline.compile.tensorrt import MAX_BATCH, build_plan
from sightline.runtimes.base import UnavailableError
from sightline.runtimes.tensorrt import DeviceBuffers, gpu, open_file, read_plan_info, this_device
from tests.unit.runtimes.networks import colour_network, expected, random_images


def reason(check):
    """Why the check says that this machine cannot, or empty."""
    try:
        check()
    except UnavailableError as error:
        return error.message
    return ""


needs_gpu = pytest.mark.skipif(bool(reason(gpu)), reason=reason(gpu) or "-")
needs_tensorrt = pytest.mark.skipif(bool(reason(this_device)), reason=reason(this_device) or "-")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    (folder / "model.onnx").write_bytes(colour_network().SerializeToString())
    build_plan(folder / "model.onnx", folder / "tensorrt-fp16.plan")
    return folder / "tensorrt-fp16.plan"


@needs_gpu
def test_what_is_put_on_the_gpu_comes_back():
    values = np.random.default_rng(7).normal(size=(1000, 17)).astype(np.float32)
    buffers = DeviceBuffers({"values": values.nbytes})
    back = np.zeros_like(values)
    buffers.put("values", values)
    buffers.get("values", back)
    buffers.wait()
    np.testing.assert_array_equal(back, values)


@needs_gpu
def test_asking_for_more_memory_than_there_is_fails_in_cudas_words():
    with pytest.raises(UnavailableError, match="out of memory"):
        DeviceBuffers({"huge": 1 << 50})


@needs_tensorrt
@pytest.mark.parametrize("batch", [0, 1, 3, 17, MAX_BATCH, MAX_BATCH + 1, 2 * MAX_BATCH + 5])
def test_answers_equal_those_of_numpy_for_any_batch(plan, batch):
    images = random_images(batch)
    answer, reference = open_file(plan).predict(images), expected(images)
    assert answer.probabilities_NC.shape == (batch, 2)
    np.testing.assert_allclose(answer.probabilities_NC, reference.probabilities_NC, atol=0.01)
    np.testing.assert_allclose(answer.embeddings_ND, reference.embeddings_ND, atol=0.005)


@needs_tensorrt
def test_threads_get_the_answers_to_their_own_images(plan):
    predictor = open_file(plan)
    batches = [random_images(1 + seed % 3, seed) for seed in range(60)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(predictor.predict, batches))
    for images, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer.probabilities_NC, expected(images).probabilities_NC, atol=0.01)


@needs_tensorrt
def test_the_side_car_names_this_machine_and_a_plan_of_another_one_is_refused(plan, tmp_path):
    info = read_plan_info(plan)
    assert info.device == this_device()
    other = info.model_copy(update={"device": info.device.model_copy(update={"gpu": "another"})})
    (tmp_path / "a.plan").write_bytes(plan.read_bytes())
    (tmp_path / "a.json").write_text(other.model_dump_json())
    with pytest.raises(UnavailableError, match="the plan was built for gpu another"):
        open_file(tmp_path / "a.plan")
