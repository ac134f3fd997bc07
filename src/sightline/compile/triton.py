"""Writes a compiled variant as a model repository of Triton Inference Server: ``<name>/config.pbtxt`` and ``<name>/1/model.…``."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sightline.compile.tensorrt import MAX_BATCH
from sightline.errors import DataError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import UnavailableError
from sightline.runtimes.signature import INPUT, OUTPUTS
from sightline.runtimes.tensorrt import Device, read_plan_info
from sightline.store.artifact import write_file

# TensorRT in nvcr.io/nvidia/tritonserver:<tag>-py3. A plan runs only with the TensorRT that built it, so a tag without a line here is
# refused. Source: NVIDIA's containers of one month share TensorRT; the compatibility matrix of triton-inference-server/server
# (docs/introduction/compatibility.md) states it for the base containers 25.10 (CUDA 13.0.2) and 25.12 (CUDA 13.1.0).
TENSORRT_OF_TAG = {"25.10": "10.13.3.9", "25.12": "10.14.1.48"}
DEFAULT_TAG = "25.12"
VERSION = "1"
_PREFERRED = (4, 8, 16, 32, 64)
_TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 10: "TYPE_FP16"}  # ONNX element types that our graphs use


class Enum(str):
    """A word of the configuration that is written without quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Tensor:
    """An input or output as Triton is told about it; ``dims`` without the batch."""

    name: str
    type: str
    dims: tuple[int, ...]


class Repository(BaseModel):
    """``<name>/sightline.json``: what the repository was made from and where it runs.

    Attributes:
        model: digest of the bundle.
        outputs: what the numbers are; the softmax is the client's.
        triton: tag of the server that it is for; empty: any with the ONNX Runtime backend.
        device: GPU, compute capability, driver and TensorRT that built the plan; None for ONNX.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    variant: str
    classes: tuple[str, ...]
    outputs: dict[str, str] = {OUTPUTS[0]: "logits before the softmax, in the order of classes", OUTPUTS[1]: "penultimate features"}
    triton: str
    device: Device | None


@dataclass(frozen=True)
class Options:
    """How Triton runs the model.

    Attributes:
        name: the model's name in URLs.
        tag: of the Triton release that will serve it, as in ``tritonserver:<tag>-py3``.
        max_queue_delay_us: microseconds that a request may wait for others to share its batch.
    """

    name: str = "sightline"
    tag: str = DEFAULT_TAG
    max_queue_delay_us: int = 500


def write_repository(bundle: ModelBundle, variant: str, output: Path, options: Options) -> Path:
    """The folder of the model in the repository ``output``, written whole or not at all.

    Args:
        bundle: a compiled bundle.
        variant: a TensorRT or ONNX Runtime variant of it.
        output: the repository; other models in it stay, one of this name is in the way.
        options: how Triton runs it.

    Raises:
        UsageError: the variant is neither, or there is a model of this name already.
        UnavailableError: the plan was built by another TensorRT than the tag's, or the tag's is not known.
        DataError: the plan has no side-car, or the graph is not one of ours.
    """
    target = output / options.name
    if target.exists():
        raise UsageError(f"{target} is there already", remedy="choose another --output or --name")
    source = bundle.variant_file(variant)
    runtime = variant.partition("-")[0]
    if runtime == "tensorrt":
        info = read_plan_info(source)
        require_tensorrt(info.device.tensorrt, options.tag)
        tensors, max_batch, device = _plan_tensors(info.size_px, info.num_classes, info.embedding_dim), info.max_batch, info.device
    elif runtime == "onnxruntime":
        tensors, max_batch, device = _onnx_tensors(source), MAX_BATCH, None
    else:
        able = [name for name in bundle.info.variants if name.startswith(("tensorrt-", "onnxruntime-"))]
        raise UsageError(f"Triton does not run variant '{variant}' here", remedy=f"choose --variant from: {', '.join(able) or 'none'}")
    about = Repository(
        model=bundle.digest, variant=variant, classes=bundle.info.classes, triton=options.tag if device else "", device=device
    )
    config = configuration(tensors, max_batch=max_batch, is_plan=device is not None, options=options)
    _place(target, source, "model.plan" if device else "model.onnx", text_format(config), about)
    return target


def require_tensorrt(built_by: str, tag: str) -> None:
    """Raises UnavailableError unless the Triton release ``tag`` is known to have the TensorRT that built the plan."""
    has = TENSORRT_OF_TAG.get(tag)
    if has is None:
        raise UnavailableError(
            f"it is not known which TensorRT is in tritonserver:{tag}-py3; known are {', '.join(TENSORRT_OF_TAG)}",
            remedy="choose --tag from these, or look (dpkg -l libnvinfer10 in the container) and add it to sightline/compile/triton.py",
        )
    if built_by.partition(".post")[0] != has:
        fitting = [known for known, version in TENSORRT_OF_TAG.items() if version == built_by.partition(".post")[0]]
        hint = f"choose --tag {fitting[0]}" if fitting else f"compile the model with tensorrt=={has}"
        raise UnavailableError(f"the plan was built by TensorRT {built_by}, tritonserver:{tag}-py3 has {has}", remedy=hint)


def configuration(tensors: tuple[Tensor, tuple[Tensor, ...]], *, max_batch: int, is_plan: bool, options: Options) -> dict[str, Any]:
    """The model configuration; the batch is Triton's business, so no tensor has it among its dims."""
    image, outputs = tensors
    return {
        "name": options.name,
        "platform": "tensorrt_plan" if is_plan else "onnxruntime_onnx",
        "max_batch_size": max_batch,
        "input": [_described(image)],
        "output": [_described(output) for output in outputs],
        "version_policy": {"specific": {"versions": [int(VERSION)]}},
        "dynamic_batching": {
            "preferred_batch_size": [size for size in _PREFERRED if size <= max_batch] or [max_batch],
            "max_queue_delay_microseconds": options.max_queue_delay_us,
        },
        "instance_group": [{"count": 1, "kind": Enum("KIND_GPU" if is_plan else "KIND_CPU")}],
        # Images hardly ever repeat, and an answer from a cache would hide a model that has stopped to answer.
        "response_cache": {"enable": False},
        "model_warmup": [
            {
                "name": f"batch of {size}",
                "batch_size": size,
                "inputs": {"key": image.name, "value": {"data_type": Enum(image.type), "dims": list(image.dims), "zero_data": True}},
            }
            for size in sorted({1, max_batch})
        ],
    }


def text_format(message: dict[str, Any], indent: str = "") -> str:
    """A message in protobuf's text format: dicts are messages, lists repeated fields."""
    lines = []
    for key, value in message.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                lines.append(f"{indent}{key} {{\n{text_format(one, indent + '  ')}{indent}}}\n")
            else:
                lines.append(f"{indent}{key}: {_scalar(one)}\n")
    return "".join(lines)


def _scalar(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum) or not isinstance(value, str):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": Enum(tensor.type), "dims": list(tensor.dims)}


def _plan_tensors(size_px: int, num_classes: int, embedding_dim: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    widths = zip(OUTPUTS, (num_classes, embedding_dim), strict=True)
    image = Tensor(INPUT, "TYPE_UINT8", (size_px, size_px, 3))
    return image, tuple(Tensor(name, "TYPE_FP32", (width,)) for name, width in widths)


def _onnx_tensors(path: Path) -> tuple[Tensor, tuple[Tensor, ...]]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    found = {value.name: _onnx_tensor(value) for value in (*graph.input, *graph.output)}
    if set(found) != {INPUT, *OUTPUTS}:
        raise DataError(f"{path} takes and gives {', '.join(found)}; expected {INPUT}, {', '.join(OUTPUTS)}")
    return found[INPUT], tuple(found[name] for name in OUTPUTS)


def _onnx_tensor(value: Any) -> Tensor:
    tensor = value.type.tensor_type
    batch, *dims = tensor.shape.dim
    if batch.dim_value or not all(dim.dim_value for dim in dims) or tensor.elem_type not in _TYPES:
        raise DataError(f"'{value.name}' has a shape or type that Triton cannot batch", remedy="compile the model again")
    return Tensor(value.name, _TYPES[tensor.elem_type], tuple(dim.dim_value for dim in dims))


def _place(target: Path, source: Path, name: str, config: str, about: Repository) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        (aside / VERSION).mkdir()
        shutil.copyfile(source, aside / VERSION / name)
        write_file(aside / "config.pbtxt", config.encode())
        write_file(aside / "sightline.json", about.model_dump_json(indent=1).encode())
        aside.chmod(0o755)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
