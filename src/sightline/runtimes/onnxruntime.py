"""Answers with ONNX Runtime on the CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import Prediction, Predictor
from sightline.runtimes.signature import INPUT, OUTPUTS, Signature

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


class OnnxRuntimePredictor:
    """One session; ONNX Runtime allows concurrent calls."""

    def __init__(self, session: "InferenceSession", signature: Signature) -> None:
        self._session = session
        self._signature = signature

    def predict(self, images_NHWC: npt.NDArray[np.uint8]) -> Prediction:
        """The prediction for a batch of any size, 0 included."""
        images = self._signature.check(images_NHWC)
        if not len(images):
            return self._signature.empty()
        return self._signature.prediction(*self._session.run(OUTPUTS, {INPUT: images}))


def load(bundle: ModelBundle, variant: str, *, num_threads: int) -> Predictor:
    """The predictor of an ``onnxruntime-*`` variant; DataError when its file cannot be trusted."""
    return open_file(bundle.variant_file(variant), num_threads=num_threads)


def open_file(path: Path, *, num_threads: int) -> OnnxRuntimePredictor:
    """The predictor of an ONNX file that ``check_onnx`` accepts."""
    import onnxruntime

    check_onnx(path)
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    # Idle threads that spin would take the cores that decode the next image.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    size_px = session.get_inputs()[0].shape[1]
    dims = {output.name: output.shape[1] for output in session.get_outputs()}
    return OnnxRuntimePredictor(session, Signature(size_px, *(dims[name] for name in OUTPUTS)))


def check_onnx(path: Path) -> None:
    """Refuses an ONNX file that would read other files or run code of its own.

    Raises:
        DataError: the file cannot be parsed, keeps weights outside itself, uses an operator of a custom domain, or does not have the input
            and outputs that every variant has. All problems are named at once.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        raise DataError(f"{path} is not an ONNX model") from None
    problems = sorted(set(_problems(model)))
    if problems:
        raise DataError(f"{path} is refused", problems=problems, remedy="export the model again with sightline compile")


def _problems(model: Any) -> Iterator[str]:
    import onnx

    inputs, outputs = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
    if inputs != [INPUT] or sorted(outputs) != sorted(OUTPUTS):
        yield f"expected input {INPUT} and outputs {', '.join(OUTPUTS)}, found {inputs} and {outputs}"
    for node, tensors in _contents(model):
        if node is not None and node.domain not in _DOMAINS:
            yield f"operator {node.domain}.{node.op_type} is of a custom domain"
        for tensor in tensors:
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                yield f"tensor {tensor.name or '(unnamed)'} keeps its data outside the file"


def _contents(model: Any) -> Iterator[tuple[Any, list[Any]]]:
    waiting = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while waiting:
        graph = waiting.pop()
        yield None, [*graph.initializer, *(t for sparse in graph.sparse_initializer for t in (sparse.values, sparse.indices))]
        nodes.extend(graph.node)
        while nodes:
            node = nodes.pop()
            yield node, [tensor for attribute in node.attribute for tensor in (attribute.t, *attribute.tensors)]
            waiting.extend(sub for attribute in node.attribute for sub in (attribute.g, *attribute.graphs))
