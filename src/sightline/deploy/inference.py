"""One inference request for an image file, and the answer to it."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.deploy.wire import Response


@dataclass(frozen=True)
class Message:
    """A request's headers and body."""

    headers: Mapping[str, str]
    body: bytes


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    data: tuple[float | str, ...] = ()


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
    outputs: tuple[_Output, ...]


def request_for(data: bytes) -> Message:
    """The request that sends one image file as binary tensor data."""
    tensor = {"name": "image_bytes", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data) + 4}}
    text = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return Message(headers, b"".join([text, struct.pack("<I", len(data)), data]))


def probabilities_of(response: Response) -> tuple[float, ...]:
    """The class probabilities in the answer to one image; empty when there are none."""
    try:
        answer = _Answer.model_validate_json(response.body)
    except ValidationError:
        return ()
    found = next((output.data for output in answer.outputs if output.name == "probabilities"), ())
    return tuple(value for value in found if isinstance(value, float))
