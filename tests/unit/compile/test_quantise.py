import numpy as np
import pytest

from sightline.compile.parity import compare
from sightline.compile.variants import build_variant, open_variant
from sightline.runtimes.eager import EagerPredictor


@pytest.mark.parametrize("variant", ["openvino-int8", "onnxruntime-int8"])
def test_int8_is_smaller_and_agrees_with_eager(exported, tmp_path, variant, capsys):
    (tmp_path / "model.onnx").write_bytes(exported.onnx.read_bytes())
    files = build_variant(variant, tmp_path, exported.dataset.split("val").pixels_NHWC[:24])
    golden = exported.dataset.split("golden")
    eager = EagerPredictor(exported.network, 1).predict(golden.pixels_NHWC)
    predictor = open_variant(variant, tmp_path / files[0], num_threads=1)
    answer = predictor.predict(golden.pixels_NHWC)
    parity = compare(answer, eager, golden.labels_N)
    # Guards against OpenVINO's dynamic batches, where INT8 was off by 0.94.
    assert parity.agreement >= 0.95
    assert parity.max_abs_diff < 0.5
    one_by_one = np.concatenate([predictor.predict(golden.pixels_NHWC[row : row + 1]).probabilities_NC for row in range(20)])
    np.testing.assert_allclose(one_by_one, answer.probabilities_NC[:20], atol=1e-5)
    assert not np.array_equal(answer.probabilities_NC, eager.probabilities_NC), "this is not the quantised network"
    assert sum((tmp_path / name).stat().st_size for name in files) < 0.8 * exported.onnx.stat().st_size
    assert predictor.predict(golden.pixels_NHWC[:0]).probabilities_NC.shape == (0, 3)
    assert capsys.readouterr().out == ""
