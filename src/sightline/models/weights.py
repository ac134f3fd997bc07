"""Weights on disk: safetensors only, checked name by name before they are used."""

from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import DataError
from sightline.models.bundle import ModelBundle
from sightline.models.network import build

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "weights.safetensors"


def save(folder: Path, network: "nn.Module") -> Path:
    """Writes ``weights.safetensors`` into ``folder`` and returns its path; equal weights give equal bytes."""
    from safetensors.torch import save_file

    path = folder / WEIGHTS
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


def load_network(bundle: ModelBundle) -> "nn.Module":
    """The bundle's network with its weights, in eval mode, on the CPU.

    Raises:
        DataError: the weights do not belong to the network that ``model.json`` describes, or hold a number that is not finite.
    """
    network = build(bundle.info, bundle.preprocessing)
    load_weights(network, bundle.artifact.file(WEIGHTS))
    return network.eval()


def load_weights(network: "nn.Module", path: Path) -> None:
    """Puts the weights of a safetensors file into ``network``; every name, shape and type has to match.

    Raises:
        DataError: lists everything that does not match; the network is then unchanged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is not a safetensors file: {error}", remedy="train the model again") from None
    problems = _problems(network.state_dict(), found)
    if problems:
        raise DataError(f"{path} does not fit the network that model.json describes", problems=problems, remedy="train the model again")
    network.load_state_dict(found, strict=True)


def _problems(expected: "dict[str, Tensor]", found: "dict[str, Tensor]") -> list[str]:
    problems = [f"{name}: missing" for name in expected if name not in found]
    problems += [f"{name}: not part of the network" for name in found if name not in expected]
    for name in (name for name in expected if name in found):
        ours, theirs = expected[name], found[name]
        if ours.shape != theirs.shape:
            problems.append(f"{name}: shape {tuple(theirs.shape)}, expected {tuple(ours.shape)}")
        elif ours.dtype != theirs.dtype:
            problems.append(f"{name}: {theirs.dtype}, expected {ours.dtype}")
        elif not bool(theirs.isfinite().all()):
            problems.append(f"{name}: holds numbers that are not finite")
    return problems
