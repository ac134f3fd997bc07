"""The state of a training as one safetensors file: tensors beside a JSON skeleton, so that reading it can run no code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes nested dicts (keys of text or integers), lists, tuples, tensors and plain values; equal states give equal bytes.

    Raises:
        TypeError: something in it is of another type.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = _packed(dict(state), tensors)
    save_file(tensors, path, metadata={"state": json.dumps(skeleton)})


def read_state(path: Path) -> dict[str, Any]:
    """What ``write_state`` wrote, with the same types; tensors are on the CPU.

    Raises:
        DataError: it is not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
            state: dict[str, Any] = _unpacked(json.loads(file.metadata()["state"]), tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} does not hold the state of a training: {error}") from None
    return state


def _packed(value: Any, tensors: "dict[str, Tensor]") -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        name = f"{len(tensors):05d}"
        tensors[name] = value.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory
        # The order in memory counts too: the fused AdamW reads its moments in the order that the weights have (channels last).
        return {"tensor": [name, list(value.stride())]}
    if isinstance(value, Mapping):
        return {"dict": [[_key(key), _packed(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"the state of a training cannot hold a {type(value).__name__}")


def _key(key: object) -> str | int:
    # JSON would turn the integer keys of an optimiser's state into text; as members of a pair they stay what they are.
    if isinstance(key, str | int):
        return key
    raise TypeError(f"the state of a training cannot hold a key of type {type(key).__name__}")


def _unpacked(value: Any, tensors: "Mapping[str, Tensor]") -> Any:
    import torch

    if not isinstance(value, dict):
        return value
    ((form, content),) = value.items()
    if form == "tensor":
        name, stride = content
        tensor = tensors[name]
        return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)
    if form == "dict":
        return {key: _unpacked(item, tensors) for key, item in content}
    items = [_unpacked(item, tensors) for item in content]
    return tuple(items) if form == "tuple" else items
