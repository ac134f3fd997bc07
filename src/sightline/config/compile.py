"""What the trained model is compiled to, and how the result is chosen."""

from typing import Literal

from pydantic import Field

from sightline.config.base import Section

Variant = Literal["onnxruntime-fp32", "openvino-fp32", "openvino-bf16", "openvino-int8", "onnxruntime-int8", "tensorrt-fp16"]


class CompileConfig(Section):
    """Export to ONNX, quantise, measure interleaved, choose the fastest variant that holds the constraints."""

    variants: tuple[Variant, ...] = ("onnxruntime-fp32", "openvino-fp32", "openvino-bf16", "openvino-int8", "tensorrt-fp16")
    """Variants to build; one that this machine cannot run is reported as unavailable with the reason."""
    max_accuracy_drop: float = Field(0.005, ge=0, lt=1)
    """Largest loss of golden accuracy against the trained model."""
    min_agreement: float = Field(0.97, gt=0, le=1)
    """Smallest share of golden images with the same predicted class as the trained model."""
    calibration_images: int = Field(128, ge=8)
    """Images used to calibrate INT8; taken from the validation split, balanced over classes, never from golden."""
    rounds: int = Field(40, ge=5)
    """Interleaved timing rounds per variant."""
    throughput_batch: int = Field(16, ge=1)
    """Batch size of the throughput figure."""
    num_threads: int = Field(1, ge=1)
    """CPU threads of each measured session."""
    seed: int = 7
    """Seed of the calibration sample."""
