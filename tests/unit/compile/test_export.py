import numpy as np
import pytest
import torch

from sightline.compile.export import export_onnx
from sightline.errors import DataError
from sightline.runtimes import onnxruntime, openvino
from sightline.runtimes.eager import EagerPredictor


@pytest.mark.parametrize("batch", [1, 3, 17])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_exported_network_answers_like_eager_for_any_batch(exported, runtime, batch):
    images = exported.dataset.split("golden").pixels_NHWC[:batch]
    predictor = (
        onnxruntime.open_file(exported.onnx, num_threads=1)
        if runtime == "onnxruntime"
        else openvino.open_file(exported.onnx, "openvino-fp32", num_threads=1)
    )
    answer, eager = predictor.predict(images), EagerPredictor(exported.network, 1).predict(images)
    np.testing.assert_allclose(answer.probabilities_NC, eager.probabilities_NC, atol=1e-4)
    np.testing.assert_allclose(answer.embeddings_ND, eager.embeddings_ND, atol=1e-4, rtol=1e-3)


def test_the_file_is_whole_and_names_its_batch(exported):
    import onnx

    model = onnx.load(exported.onnx, load_external_data=False)
    image = model.graph.input[0].type.tensor_type
    assert [path.name for path in exported.onnx.parent.glob("model.onnx*")] == ["model.onnx"]
    assert image.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in image.shape.dim] == ["batch", 32, 32, 3]
    assert [output.name for output in model.graph.output] == ["logits", "embedding"]


def test_a_network_that_cannot_be_exported_is_explained_in_three_lines(tmp_path):
    class Fickle(torch.nn.Module):
        def forward(self, images):
            if images.sum() > 0:
                return images.float().mean((1, 2)), images.float().mean((1, 2))
            return images.float().amax((1, 2)), images.float().amax((1, 2))

    with pytest.raises(DataError, match="cannot be exported to ONNX") as caught:
        export_onnx(Fickle().eval(), tmp_path / "model.onnx", size_px=8)
    assert len(str(caught.value).splitlines()) <= 3
