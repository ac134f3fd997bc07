"""Builds TensorRT plans: one way for TensorRT 10.12 and later and for 11, where the precision is in the graph."""

import time
from pathlib import Path
from typing import Any

from sightline.errors import DataError
from sightline.runtimes.signature import INPUT, OUTPUTS
from sightline.runtimes.tensorrt import PlanInfo, this_device

MAX_BATCH = 64
_WORKSPACE_BYTES = 4 << 30


def build_plan(onnx: Path, target: Path) -> None:
    """Writes an FP16 plan and its side-car (``target`` with ``.json``) for the GPU, driver and TensorRT of this machine.

    Args:
        onnx: the exported network, FP32.
        target: the ``.plan`` file to write.

    Raises:
        UnavailableError: the tensorrt package or an NVIDIA GPU is missing.
        DataError: TensorRT cannot build this network.
    """
    device = this_device()
    started = time.monotonic()
    model = bake_fp16(onnx)
    size_px = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    plan = _serialised(model.SerializeToString(), size_px)
    dims = {output.name: output.type.tensor_type.shape.dim[1].dim_value for output in model.graph.output}
    num_classes, embedding_dim = (dims[name] for name in OUTPUTS)
    info = PlanInfo(
        device=device,
        precision="fp16",
        size_px=size_px,
        num_classes=num_classes,
        embedding_dim=embedding_dim,
        max_batch=MAX_BATCH,
        build_seconds=round(time.monotonic() - started, 2),
    )
    target.write_bytes(plan)
    target.with_suffix(".json").write_text(info.model_dump_json(indent=1))


def bake_fp16(onnx: Path) -> Any:
    """The network with FP16 weights and arithmetic as an ONNX model; input and outputs keep their types.

    TensorRT 11 has no switch for precision any more: a strongly typed network computes in the types that its graph states.
    """
    import onnx as onnx_library
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(onnx_library.load(onnx), keep_io_types=True)


def _serialised(model: bytes, size_px: int) -> bytes:
    import tensorrt

    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
    # Required by 10.x, the only kind of network in 11.
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, builder.logger)
    if not parser.parse(model):
        problems = [str(parser.get_error(index)).splitlines()[0] for index in range(parser.num_errors)]
        raise DataError("TensorRT cannot read the exported network", problems=problems)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *((batch, size_px, size_px, 3) for batch in (1, 1, MAX_BATCH)))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise DataError("TensorRT cannot build the exported network", remedy="run with TensorRT's verbose log to see the layer")
    return bytes(plan)
