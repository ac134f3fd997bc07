import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sightline.errors import DataError
from sightline.runtimes.base import UnavailableError, load_predictor
from sightline.runtimes.openvino import forbid_telemetry, open_file
from tests.unit.runtimes.networks import colour_bundle, colour_network, expected, random_images

VARIANTS = {"openvino-fp32": "model.onnx"}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    files = {"model.onnx": colour_network().SerializeToString()}
    return load_predictor(colour_bundle(tmp_path_factory.mktemp("bundle") / "b", VARIANTS, files), "openvino-fp32", num_threads=1)


@pytest.mark.parametrize("batch", [1, 3, 6, 16, 17, 30, 33])
def test_answers_equal_those_of_numpy_for_any_batch(predictor, batch):
    images = random_images(batch)
    answer, reference = predictor.predict(images), expected(images)
    np.testing.assert_allclose(answer.probabilities_NC, reference.probabilities_NC, atol=1e-6)
    np.testing.assert_allclose(answer.embeddings_ND, reference.embeddings_ND, atol=1e-6)


def test_no_images_give_no_rows_of_the_right_width(predictor):
    answer = predictor.predict(random_images(0))
    assert answer.probabilities_NC.shape == (0, 2)
    assert answer.embeddings_ND.shape == (0, 3)


def test_a_later_call_leaves_earlier_answers_alone(predictor):
    images = random_images(2)
    first = predictor.predict(images)
    predictor.predict(255 - images)
    np.testing.assert_allclose(first.embeddings_ND, expected(images).embeddings_ND, atol=1e-6)


def test_threads_get_the_answers_to_their_own_images(predictor):
    batches = [random_images(1 + seed % 3, seed) for seed in range(60)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(predictor.predict, batches))
    for images, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer.probabilities_NC, expected(images).probabilities_NC, atol=1e-6)


def test_the_precision_is_stated_and_threads_are_not_pinned(predictor):
    settings = {
        name: predictor._models[1].get_property(name)
        for name in ("INFERENCE_PRECISION_HINT", "ENABLE_CPU_PINNING", "INFERENCE_NUM_THREADS")
    }
    assert settings["INFERENCE_PRECISION_HINT"].to_string() == "f32"
    assert settings["ENABLE_CPU_PINNING"] is False
    assert settings["INFERENCE_NUM_THREADS"] == 1


def test_bf16_is_used_where_the_cpu_has_it_and_unavailable_elsewhere(tmp_path):
    forbid_telemetry()
    import openvino

    (tmp_path / "model.onnx").write_bytes(colour_network().SerializeToString())
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(UnavailableError, match="no bf16 arithmetic"):
            open_file(tmp_path / "model.onnx", "openvino-bf16", num_threads=1)
        return
    predictor = open_file(tmp_path / "model.onnx", "openvino-bf16", num_threads=1)
    assert predictor._models[1].get_property("INFERENCE_PRECISION_HINT").to_string() == "bf16"
    images = random_images(4)
    np.testing.assert_allclose(predictor.predict(images).probabilities_NC, expected(images).probabilities_NC, atol=0.02)


def test_weights_outside_an_onnx_file_are_refused(tmp_path):
    import onnx

    onnx.save(colour_network(), tmp_path / "model.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    with pytest.raises(DataError, match="keeps its data outside the file"):
        open_file(tmp_path / "model.onnx", "openvino-fp32", num_threads=1)


def test_an_ir_whose_weights_are_not_in_the_manifest_is_refused(tmp_path):
    bundle = colour_bundle(tmp_path / "b", {"openvino-int8": "openvino-int8.xml"}, {"openvino-int8.xml": b"<net/>"})
    with pytest.raises(DataError, match=r"no file 'openvino-int8\.bin'"):
        load_predictor(bundle, "openvino-int8")


def test_a_damaged_ir_is_explained(tmp_path):
    bundle = colour_bundle(tmp_path / "b", {"openvino-int8": "openvino-int8.xml"}, {"openvino-int8.xml": b"<net", "openvino-int8.bin": b""})
    with pytest.raises(DataError, match="OpenVINO cannot load"):
        load_predictor(bundle, "openvino-int8")


@pytest.mark.parametrize(
    ("code", "touched"),
    [
        ("from sightline.runtimes.openvino import forbid_telemetry; forbid_telemetry(); import openvino, nncf", False),
        ("import openvino", True),
    ],
    ids=["ours", "negative control: the bare import"],
)
def test_openvino_and_nncf_leave_no_telemetry_files(tmp_path, code, touched):
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    # A closed port as the proxy: the control must not reach anybody either.
    environment |= {"HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert (tmp_path / "intel").exists() is touched
