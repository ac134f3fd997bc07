"""A real compiled bundle that needs no training: the class is the channel with the highest mean."""

import io
import json
from pathlib import Path

import numpy as np

from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.store.artifact import commit_artifact
from sightline.store.digest import sha256_bytes

CLASSES = ("red", "green", "blue")
SIZE_PX = 32


def write_onnx(path: Path, *, scale: float = 20.0) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "white"], ["embedding"]),
        helper.make_node("Mul", ["embedding", "scale"], ["logits"]),
    ]
    constants = {"axes": np.array([1, 2], np.int64), "white": np.array(255.0, np.float32), "scale": np.array(scale, np.float32)}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIZE_PX, SIZE_PX, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("logits", "embedding")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))


def picture(index: int, *, size: int = 48) -> bytes:
    """A JPEG that is mostly of one colour; the colour is ``index % 3``."""
    from PIL import Image

    pixels = np.random.default_rng(index).integers(0, 90, (size, size, 3), dtype=np.uint8)
    pixels[:, :, index % 3] += 60 + index % 17
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=92)
    return target.getvalue()


def write_pictures(folder: Path, num: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:04d}.jpg" for index in range(num)]
    for index, path in enumerate(paths):
        path.write_bytes(picture(index))
    return paths


def write_bundle(folder: Path, *, golden: list[Path] | None = None, scale: float = 20.0, parent: str = "") -> ModelBundle:
    """A committed bundle; with ``golden``, its golden.parquet holds what this very model answers to those files."""

    def write(target: Path) -> dict[str, object]:
        write_onnx(target / "model.onnx", scale=scale)
        info = BundleInfo(
            classes=CLASSES,
            backbone="tiny",
            width=4,
            embedding_dim=3,
            dataset_digests={},
            parent=parent,
            chosen="onnxruntime-fp32",
            variants={"onnxruntime-fp32": "model.onnx"},
        )
        (target / "model.json").write_text(info.model_dump_json())
        (target / "preprocessing.json").write_text(Preprocessing(size_px=SIZE_PX).model_dump_json())
        (target / "note.json").write_text(json.dumps({"scale": scale}))
        if golden is not None:
            write_golden(target, golden)
        return {}

    return ModelBundle(commit_artifact(folder, COMPILED, write))


def write_golden(folder: Path, files: list[Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sightline import images
    from sightline.runtimes.onnxruntime import open_file

    pixels = [images.resize(images.decode(path.read_bytes()), SIZE_PX) for path in files]
    probabilities = open_file(folder / "model.onnx", num_threads=1).predict(np.stack(pixels)).probabilities_NC
    table = {
        "sample_id": [sha256_bytes(path.read_bytes()) for path in files],
        "location": [str(path) for path in files],
        "label": [index % 3 for index in range(len(files))],
        "predicted": probabilities.argmax(axis=1).tolist(),
        "confidence": probabilities.max(axis=1).astype(float).tolist(),
    }
    pq.write_table(pa.table(table), folder / "golden.parquet")
