import importlib.util

import numpy as np
import pytest

from sightline.compile.tensorrt import bake_fp16, build_plan
from sightline.runtimes import onnxruntime
from sightline.runtimes.base import UnavailableError
from sightline.runtimes.eager import EagerPredictor


def test_the_baked_graph_computes_in_fp16_and_answers_like_eager(exported, tmp_path):
    import onnx

    model = bake_fp16(exported.onnx)
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.FLOAT not in types
    assert onnx.TensorProto.FLOAT16 in types
    onnx.save(model, tmp_path / "half.onnx")
    images = exported.dataset.split("golden").pixels_NHWC
    answer = onnxruntime.open_file(tmp_path / "half.onnx", num_threads=1).predict(images)
    eager = EagerPredictor(exported.network, 1).predict(images)
    np.testing.assert_allclose(answer.probabilities_NC, eager.probabilities_NC, atol=0.02)
    assert not np.array_equal(answer.probabilities_NC, eager.probabilities_NC)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed here")
def test_without_tensorrt_no_plan_is_written(exported, tmp_path):
    with pytest.raises(UnavailableError, match="not installed"):
        build_plan(exported.onnx, tmp_path / "a.plan")
    assert not list(tmp_path.iterdir())
