"""Answers with OpenVINO on the CPU."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import Prediction, Predictor, UnavailableError
from sightline.runtimes.onnxruntime import check_onnx
from sightline.runtimes.signature import INPUT, OUTPUTS, Signature

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

# Stated for every variant: on a CPU with bf16 arithmetic OpenVINO takes bf16 by default, and answers would differ between machines.
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


# Batches are cut into single images and blocks of this size, each compiled with a fixed shape: OpenVINO 2026.4.1 computes INT8 wrongly when
# the batch is dynamic (built-in network: probabilities off by up to 0.94, 92 % agreement; fixed: 0.04 and 100 %), and fixed is 10 % faster.
_BLOCK = 16
# From this many images on, a block that is filled up with black ones is faster than single images.
_MIN_FILLED = 6


class OpenVinoPredictor:
    """One graph for single images, one for blocks (compiled at the first need), one infer request per graph and thread."""

    def __init__(self, compile_for: "Callable[[int], CompiledModel]") -> None:
        self._compile_for = compile_for
        self._lock = threading.Lock()
        self._local = threading.local()
        self._models = {1: compile_for(1)}
        single = self._models[1]
        sizes = [single.output(name).shape[1] for name in OUTPUTS]
        self._signature = Signature(single.input(INPUT).shape[1], *sizes)

    def predict(self, images_NHWC: npt.NDArray[np.uint8]) -> Prediction:
        """The prediction for a batch of any size, 0 included."""
        images = self._signature.check(images_NHWC)
        if not len(images):
            return self._signature.empty()
        parts = []
        start = 0
        while start < len(images):
            size = _BLOCK if len(images) - start >= _MIN_FILLED else 1
            parts.append(self._run(images[start : start + size], size))
            start += size
        if len(parts) == 1:
            return parts[0]
        probabilities = np.concatenate([part.probabilities_NC for part in parts])
        return Prediction(probabilities, np.concatenate([part.embeddings_ND for part in parts]))

    def _run(self, images_NHWC: npt.NDArray[np.uint8], size: int) -> Prediction:
        num_images = len(images_NHWC)
        if num_images < size:
            filled = np.zeros((size, *images_NHWC.shape[1:]), np.uint8)
            filled[:num_images] = images_NHWC
            images_NHWC = filled
        # Sharing buffers takes a third off the latency of one small image; the request is this thread's own and the prediction is a copy.
        answer = self._request(size).infer({INPUT: images_NHWC}, share_inputs=True, share_outputs=True)
        return self._signature.prediction(*(answer[name][:num_images] for name in OUTPUTS))

    def _request(self, size: int) -> "InferRequest":
        requests: dict[int, InferRequest] = self._local.__dict__.setdefault("requests", {})
        if size not in requests:
            with self._lock:
                if size not in self._models:
                    self._models[size] = self._compile_for(size)
                requests[size] = self._models[size].create_infer_request()
        return requests[size]


def load(bundle: ModelBundle, variant: str, *, num_threads: int) -> Predictor:
    """The predictor of an ``openvino-*`` variant.

    Raises:
        UnavailableError: a bf16 variant on a CPU without bf16 arithmetic.
        DataError: a file is missing from the manifest or cannot be trusted.
    """
    path = bundle.variant_file(variant)
    if path.suffix == ".xml":
        bundle.artifact.file(bundle.info.variants[variant].removesuffix(".xml") + ".bin")
    return open_file(path, variant, num_threads=num_threads)


def open_file(path: Path, variant: str, *, num_threads: int) -> OpenVinoPredictor:
    """The predictor of an ONNX file or an OpenVINO IR (``.xml`` with its ``.bin`` beside it).

    Args:
        path: the file.
        variant: ``openvino-<precision>``; the precision is stated to OpenVINO, never left to its default.
        num_threads: CPU threads per call. Threads are not pinned: two servers on one machine would be pinned to the same core.
    """
    forbid_telemetry()
    import openvino

    if path.suffix == ".onnx":
        check_onnx(path)
    core = openvino.Core()
    precision = variant.rpartition("-")[2]
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UnavailableError("this CPU has no bf16 arithmetic", remedy="use openvino-fp32 or openvino-int8 here")
    settings = {
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
        "INFERENCE_NUM_THREADS": num_threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }

    def compile_for(num_images: int) -> "CompiledModel":
        model = source.clone()
        model.reshape({INPUT: [num_images, *model.input(INPUT).partial_shape[1:]]})
        return core.compile_model(model, "CPU", settings)

    try:
        source = core.read_model(path)
        return OpenVinoPredictor(compile_for)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataError(f"OpenVINO cannot load {path}: {reason}") from None


def forbid_telemetry() -> None:
    """Makes OpenVINO and NNCF fall back to their silent stubs, for this process.

    ``import openvino`` sends an event and writes ``~/intel`` as it is imported, so this comes first; there is no switch that covers both.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
