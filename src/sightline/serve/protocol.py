"""The Open Inference Protocol v2: from a request's bytes to images, and from a prediction to a response's bytes."""

import base64
import binascii
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.images import ImageU8
from sightline.runtimes.base import Prediction

MAX_BATCH = 64
MAX_JSON_DEPTH = 16
OUTPUTS = ("probabilities", "label", "embedding")
DEFAULT_OUTPUTS = ("probabilities", "label")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class RefusedError(Exception):
    """A request that is not answered; the text is shown to the client and says nothing about internals."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    binary_data_size: int | None = None
    binary_data: bool = False
    binary_data_output: bool = False
    content_type: str = "base64"


class _Input(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any] | None = None
    parameters: _Parameters = _Parameters()


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    parameters: _Parameters = _Parameters()


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str = ""
    inputs: tuple[_Input, ...]
    outputs: tuple[_Output, ...] = ()
    parameters: _Parameters = _Parameters()


@dataclass(frozen=True)
class InferRequest:
    """What the client wants.

    Attributes:
        files: whole image files, or empty when pixels came.
        images_NHWC: pixels at the model's size, or None when files came.
        outputs: names of the wanted outputs, each with True when it is wanted as binary data.
    """

    id: str
    files: tuple[bytes, ...]
    images_NHWC: npt.NDArray[np.uint8] | None
    outputs: dict[str, bool]


def parse_request(body: bytes, *, header_length: int | None, size_px: int) -> InferRequest:
    """The request in ``body``.

    Args:
        body: JSON, or JSON followed by tensor data.
        header_length: length of the JSON in bytes when tensor data follows it, else None.
        size_px: edge of the images that the model takes.

    Raises:
        RefusedError: with status 400 and what is wrong.
    """
    if header_length is not None and not 0 < header_length <= len(body):
        raise RefusedError(400, f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes")
    text = body if header_length is None else body[:header_length]
    parsed = _parse_json(text)
    if len(parsed.inputs) != 1:
        raise RefusedError(400, f"expected one input, 'images' or 'image_bytes', came {len(parsed.inputs)}")
    tensor = parsed.inputs[0]
    binary = _binary_data(tensor, b"" if header_length is None else body[header_length:])
    outputs = _wanted(parsed)
    if tensor.name == "images":
        return InferRequest(parsed.id, (), _pixels(tensor, binary, size_px), outputs)
    if tensor.name == "image_bytes":
        return InferRequest(parsed.id, _files(tensor, binary), None, outputs)
    raise RefusedError(400, "the input must be named 'images' or 'image_bytes'")


def _parse_json(text: bytes) -> _Body:
    brackets = np.frombuffer(text.translate(None, _NOT_BRACKETS), dtype=np.uint8)
    # '[' and '{' are 91 and 123, ']' and '}' are 93 and 125.
    depth = np.cumsum(np.where((brackets == 91) | (brackets == 123), 1, -1))
    if depth.max(initial=0) > MAX_JSON_DEPTH:
        raise RefusedError(400, f"the JSON is nested deeper than {MAX_JSON_DEPTH}")
    try:
        return _Body.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise RefusedError(400, f"{where}: {first['msg']}"[:200]) from None


def _binary_data(tensor: _Input, rest: bytes) -> bytes | None:
    size = tensor.parameters.binary_data_size
    if size is None:
        if rest:
            raise RefusedError(400, "tensor data follows the JSON, but no input has 'binary_data_size'")
        return None
    if tensor.data is not None:
        raise RefusedError(400, "an input has either 'data' or 'binary_data_size', not both")
    if size != len(rest):
        raise RefusedError(400, f"binary_data_size is {size}, {len(rest)} bytes follow the JSON")
    return rest


def _wanted(parsed: _Body) -> dict[str, bool]:
    default = parsed.parameters.binary_data_output
    wanted = {output.name: output.parameters.binary_data or default for output in parsed.outputs}
    unknown = sorted(set(wanted) - set(OUTPUTS))
    if unknown:
        raise RefusedError(400, f"unknown output; the model has {', '.join(OUTPUTS)}")
    return wanted or dict.fromkeys(DEFAULT_OUTPUTS, default)


def _pixels(tensor: _Input, binary: bytes | None, size_px: int) -> npt.NDArray[np.uint8]:
    expected = (size_px, size_px, 3)
    if tensor.datatype != "UINT8" or len(tensor.shape) != 4 or tensor.shape[1:] != expected:
        raise RefusedError(400, f"'images' must be UINT8 with shape [n, {size_px}, {size_px}, 3]")
    shape = (_batch(tensor.shape[0]), *expected)
    if binary is not None:
        if len(binary) != int(np.prod(shape)):
            raise RefusedError(400, f"shape {list(shape)} needs {int(np.prod(shape))} bytes of data, came {len(binary)}")
        return np.frombuffer(binary, dtype=np.uint8).reshape(shape)
    try:
        values = np.asarray(tensor.data)
    except (ValueError, OverflowError):
        raise RefusedError(400, "the data of 'images' is ragged or out of range") from None
    if values.dtype.kind not in "iu" or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise RefusedError(400, "the data of 'images' must be whole numbers from 0 to 255")
    if values.size != int(np.prod(shape)):
        raise RefusedError(400, f"shape {list(shape)} needs {int(np.prod(shape))} numbers, came {values.size}")
    return values.astype(np.uint8).reshape(shape)


def _batch(size: int) -> int:
    if not 1 <= size <= MAX_BATCH:
        raise RefusedError(400, f"a batch has 1 to {MAX_BATCH} images")
    return size


def _files(tensor: _Input, binary: bytes | None) -> tuple[bytes, ...]:
    if tensor.datatype != "BYTES" or tensor.shape[1:] not in {(), (1,)} or not tensor.shape:
        raise RefusedError(400, "'image_bytes' must be BYTES with shape [n]")
    num = _batch(tensor.shape[0])
    files = _split(binary) if binary is not None else _decoded(tensor)
    if len(files) != num:
        raise RefusedError(400, f"shape {list(tensor.shape)} needs {num} elements, came {len(files)}")
    return files


def _split(binary: bytes) -> tuple[bytes, ...]:
    """Elements of a BYTES tensor: each one after its length as a little-endian unsigned 32-bit number."""
    files, offset = [], 0
    while offset < len(binary):
        if offset + 4 > len(binary):
            raise RefusedError(400, "the data of 'image_bytes' ends within a length")
        (size,) = struct.unpack_from("<I", binary, offset)
        offset += 4
        if size > len(binary) - offset:
            raise RefusedError(400, "the data of 'image_bytes' ends within an element")
        files.append(binary[offset : offset + size])
        offset += size
    return tuple(files)


def _decoded(tensor: _Input) -> tuple[bytes, ...]:
    if tensor.parameters.content_type != "base64":
        raise RefusedError(400, "in JSON, 'image_bytes' must be base64; send other bytes as binary tensor data")
    try:
        return tuple(base64.b64decode(_text(element), validate=True) for element in tensor.data or ())
    except binascii.Error:
        raise RefusedError(400, "an element of 'image_bytes' is not base64") from None


def _text(element: Any) -> bytes:
    if not isinstance(element, str) or not element.isascii():
        raise RefusedError(400, "the elements of 'image_bytes' must be base64 strings")
    return element.encode()


@dataclass(frozen=True)
class Answer:
    """A prediction with the names of its classes.

    Attributes:
        images: the images as the model saw them.
        labels: predicted class names.
    """

    images: Sequence[ImageU8]
    prediction: Prediction
    labels: tuple[str, ...]


def format_response(request: InferRequest, answer: Answer, *, model: str, version: str) -> tuple[bytes, int | None]:
    """The response's body and, when it holds tensor data, the length of the JSON before it."""
    described, blobs = [], []
    for name, binary in request.outputs.items():
        datatype, shape, values = _output(name, answer)
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if binary:
            blob = _pack(values)
            blobs.append(blob)
            entry["parameters"] = {"binary_data_size": len(blob)}
        else:
            entry["data"] = list(values) if isinstance(values, tuple) else [round(value, 7) for value in values.ravel().tolist()]
        described.append(entry)
    header: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id:
        header["id"] = request.id
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return (b"".join([text, *blobs]), len(text)) if blobs else (text, None)


def _output(name: str, answer: Answer) -> tuple[str, list[int], npt.NDArray[np.float32] | tuple[str, ...]]:
    if name == "label":
        return "BYTES", [len(answer.labels)], answer.labels
    values = answer.prediction.probabilities_NC if name == "probabilities" else answer.prediction.embeddings_ND
    return "FP32", list(values.shape), values


def _pack(values: npt.NDArray[np.float32] | tuple[str, ...]) -> bytes:
    if isinstance(values, tuple):
        return b"".join(struct.pack("<I", len(data)) + data for data in (value.encode() for value in values))
    return values.astype("<f4").tobytes()


def pack_files(files: Sequence[bytes]) -> bytes:
    """A BYTES tensor of whole files, as the binary tensor data extension carries it."""
    return b"".join(struct.pack("<I", len(data)) + data for data in files)
