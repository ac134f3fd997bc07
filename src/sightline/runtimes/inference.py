"""One request of the Open Inference Protocol v2 for an image file, and the answer to it, as every client sends and reads them."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError


@dataclass(frozen=True)
class Message:
    """A request's headers and body."""

    headers: Mapping[str, str]
    body: bytes


class Output(BaseModel):
    """One named tensor of an answer, its values in row order."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    data: tuple[float | str, ...] = ()


class InferAnswer(BaseModel):
    """What a server answered; ``model_version`` is empty when it does not say."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())
    model_version: str = ""
    outputs: tuple[Output, ...]

    def data(self, name: str) -> tuple[float | str, ...]:
        """The values of the named output; empty without one."""
        return next((output.data for output in self.outputs if output.name == name), ())


def request_for(data: bytes) -> Message:
    """The request that sends one image file as binary tensor data."""
    tensor = {"name": "image_bytes", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data) + 4}}
    text = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return Message(headers, b"".join([text, struct.pack("<I", len(data)), data]))


def parse_answer(body: bytes) -> InferAnswer | None:
    """The answer in a response's body; None when it is not one."""
    try:
        return InferAnswer.model_validate_json(body)
    except ValidationError:
        return None


def probabilities_of(body: bytes) -> tuple[float, ...]:
    """The class probabilities in the answer to one image; empty when there are none. They may be NaN or infinite."""
    answer = parse_answer(body)
    return tuple(value for value in (answer.data("probabilities") if answer else ()) if isinstance(value, float))
