"""Builds each variant's files, and opens them to be scored and timed before the bundle is committed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.compile import quantise
from sightline.compile import tensorrt as tensorrt_builder
from sightline.config.compile import Variant
from sightline.runtimes import onnxruntime, openvino, tensorrt
from sightline.runtimes.base import Predictor

MODEL = "model.onnx"


def needs_calibration(variants: tuple[Variant, ...]) -> bool:
    """Whether any of the variants is INT8."""
    return any(variant.endswith("-int8") for variant in variants)


def build_variant(variant: Variant, folder: Path, calibration_NHWC: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """Writes what the variant needs beside ``model.onnx`` and returns its files, the main one first.

    The 32-bit and bf16 variants read ``model.onnx`` itself: the precision is the runtime's setting, not another file.

    Raises:
        UnavailableError: this machine cannot build it; the message says why.
    """
    match variant:
        case "openvino-int8":
            quantise.quantise_openvino(folder / MODEL, folder / f"{variant}.xml", calibration_NHWC)
            return f"{variant}.xml", f"{variant}.bin"
        case "onnxruntime-int8":
            quantise.quantise_onnx(folder / MODEL, folder / f"{variant}.onnx", calibration_NHWC)
            return (f"{variant}.onnx",)
        case "tensorrt-fp16":
            tensorrt_builder.build_plan(folder / MODEL, folder / f"{variant}.plan")
            return f"{variant}.plan", f"{variant}.json"
    return (MODEL,)


def open_variant(variant: Variant, path: Path, *, num_threads: int) -> Predictor:
    """The predictor of a variant's main file; UnavailableError when this machine cannot run it."""
    runtime = variant.partition("-")[0]
    if runtime == "tensorrt":
        return tensorrt.open_file(path, num_threads=num_threads)
    if runtime == "openvino":
        return openvino.open_file(path, variant, num_threads=num_threads)
    return onnxruntime.open_file(path, num_threads=num_threads)
