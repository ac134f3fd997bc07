"""A tiny ONNX network whose answers numpy can compute: mean colour of the image, then a linear layer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.runtimes.base import Prediction
from sightline.store.artifact import commit_artifact

SIZE_PX = 8
WEIGHTS_DC = np.array([[4.0, -2.0], [0.5, 1.5], [-3.0, 2.5]], np.float32)


def colour_network() -> Any:
    """The ONNX model: images uint8 [batch, 8, 8, 3] → embedding, the mean colour in [0, 1], and logits of two classes."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "axes"], ["embedding"], keepdims=0),
        helper.make_node("MatMul", ["embedding", "weights"], ["logits"]),
    ]
    constants = {"scale": np.float32(1 / 255), "axes": np.array([1, 2], np.int64), "weights": WEIGHTS_DC}
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", SIZE_PX, SIZE_PX, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def expected(images_NHWC: npt.NDArray[np.uint8]) -> Prediction:
    """The network's answer, computed by numpy in float64."""
    embeddings = (images_NHWC.astype(np.float64) / 255).mean(axis=(1, 2))
    powers = np.exp(embeddings @ WEIGHTS_DC)
    return Prediction((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), embeddings.astype(np.float32))


def colour_bundle(folder: Path, variants: Mapping[str, str], files: Mapping[str, bytes]) -> ModelBundle:
    """A compiled bundle that holds ``files`` and names ``variants``."""
    info = BundleInfo(classes=("a", "b"), backbone="colour", width=4, embedding_dim=3, dataset_digests={}, variants=dict(variants))

    def write(target: Path) -> dict[str, Any]:
        for name, data in files.items():
            (target / name).write_bytes(data)
        (target / "model.json").write_text(info.model_dump_json())
        (target / "preprocessing.json").write_text(Preprocessing(size_px=SIZE_PX).model_dump_json())
        return {}

    return ModelBundle(commit_artifact(folder, COMPILED, write))


def random_images(num_images: int, seed: int = 7) -> npt.NDArray[np.uint8]:
    """Noise, uint8 [N, 8, 8, 3], each image with a brightness of its own."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, rng.integers(1, 256, (num_images, 1, 1, 3)), (num_images, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
