import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sightline.errors import DataError
from sightline.runtimes.base import load_predictor
from sightline.runtimes.onnxruntime import check_onnx, open_file
from tests.unit.runtimes.networks import colour_bundle, colour_network, expected, random_images

VARIANTS = {"onnxruntime-fp32": "model.onnx"}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    files = {"model.onnx": colour_network().SerializeToString()}
    return load_predictor(colour_bundle(tmp_path_factory.mktemp("bundle") / "b", VARIANTS, files), "onnxruntime-fp32", num_threads=1)


@pytest.mark.parametrize("batch", [1, 3, 17])
def test_answers_equal_those_of_numpy_for_any_batch(predictor, batch):
    images = random_images(batch)
    answer, reference = predictor.predict(images), expected(images)
    np.testing.assert_allclose(answer.probabilities_NC, reference.probabilities_NC, atol=1e-6)
    np.testing.assert_allclose(answer.embeddings_ND, reference.embeddings_ND, atol=1e-6)
    assert answer.probabilities_NC.dtype == answer.embeddings_ND.dtype == np.float32


def test_no_images_give_no_rows_of_the_right_width(predictor):
    answer = predictor.predict(random_images(0))
    assert answer.probabilities_NC.shape == (0, 2)
    assert answer.embeddings_ND.shape == (0, 3)


@pytest.mark.parametrize("images", [np.zeros((1, 9, 8, 3), np.uint8), np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)])
def test_images_of_another_shape_or_type_are_refused_with_both(predictor, images):
    with pytest.raises(DataError, match=r"\[N, 8, 8, 3\], came"):
        predictor.predict(images)


def test_threads_get_the_answers_to_their_own_images(predictor):
    batches = [random_images(1 + seed % 3, seed) for seed in range(60)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(predictor.predict, batches))
    for images, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer.probabilities_NC, expected(images).probabilities_NC, atol=1e-6)


def test_weights_outside_the_file_are_refused(tmp_path):
    import onnx

    onnx.save(colour_network(), tmp_path / "model.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    with pytest.raises(DataError, match="keeps its data outside the file"):
        open_file(tmp_path / "model.onnx", num_threads=1)


def test_operators_of_a_custom_domain_are_refused_in_the_graph_and_inside_branches(tmp_path):
    from onnx import TensorProto, helper

    model = colour_network()
    custom = helper.make_node("Run", ["embedding"], ["elsewhere"], domain="com.example")
    branch = helper.make_graph([custom], "branch", [], [helper.make_tensor_value_info("elsewhere", TensorProto.FLOAT, None)])
    model.graph.node.append(helper.make_node("If", ["condition"], ["out"], then_branch=branch, else_branch=branch))
    (tmp_path / "nested.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"com\.example\.Run"):
        check_onnx(tmp_path / "nested.onnx")


def test_a_network_without_the_agreed_outputs_is_refused(tmp_path):
    model = colour_network()
    del model.graph.output[1]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match="expected input images and outputs logits, embedding"):
        check_onnx(tmp_path / "model.onnx")


def test_bytes_that_are_no_model_are_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(DataError, match="is not an ONNX model"):
        check_onnx(tmp_path / "model.onnx")


def test_a_sound_file_passes(tmp_path):
    (tmp_path / "model.onnx").write_bytes(colour_network().SerializeToString())
    check_onnx(tmp_path / "model.onnx")


def test_a_variant_that_the_bundle_does_not_have_is_named(tmp_path):
    bundle = colour_bundle(tmp_path / "b", VARIANTS, {"model.onnx": b""})
    with pytest.raises(DataError, match="no variant 'onnxruntime-int8'; it has: onnxruntime-fp32"):
        load_predictor(bundle, "onnxruntime-int8")


def test_importing_the_runtimes_loads_no_heavy_library():
    code = "import sys; import sightline.runtimes.onnxruntime, sightline.runtimes.openvino, sightline.runtimes.tensorrt; "
    code += "print([name for name in ('onnx', 'onnxruntime', 'openvino', 'torch') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
