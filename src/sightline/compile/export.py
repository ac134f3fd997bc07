"""The network as one ONNX file."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import DataError
from sightline.runtimes.onnxruntime import check_onnx
from sightline.runtimes.signature import INPUT, OUTPUTS

if TYPE_CHECKING:
    from torch import nn

# Talk about optional libraries that an image classifier does not need.
_TALKATIVE = ("torch.onnx._internal.exporter._registration", "torch.utils.cpp_extension", "onnxscript")


def export_onnx(network: "nn.Module", path: Path, *, size_px: int) -> None:
    """Writes the network to ``path``: input ``images`` uint8 [batch, H, W, 3], outputs ``logits`` and ``embedding``, any batch size.

    About 3.5 s on two cores, nearly all of it fixed: 1.5 s of imports (torch._dynamo, onnxscript), 1 s for the operator registry, 1 s to
    trace and translate. The graph optimiser takes 0.15 s and stays on: it folds the 70 shape nodes that batch norms leave.

    Args:
        network: in eval mode.
        path: a ``.onnx`` file; all weights are inside it.
        size_px: edge of the images.

    Raises:
        DataError: the network uses something that ONNX cannot express, or is too large for one file (2 GB).
    """
    quieten()
    import onnx
    import torch

    # Two images: an example of one would fix the batch size to one.
    example = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: "batch"},),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                verbose=False,
                verify=False,
                report=False,
            )
            if program is None:
                raise RuntimeError("the exporter returned nothing")
            program.save(path, external_data=False)
        onnx.checker.check_model(str(path))
    except (torch.onnx.errors.OnnxExporterError, onnx.checker.ValidationError, RuntimeError, ValueError, TypeError) as error:
        message = f"the network cannot be exported to ONNX: {_explained(error)}"
        raise DataError(message, remedy="choose another backbone (train.backbone)") from error
    check_onnx(path)


def quieten() -> None:
    """Silences loggers that speak of optional libraries as they are imported."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)


def _explained(error: BaseException) -> str:
    """The first line of the root cause; the exporter itself prints up to 2 000 lines of graph."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or ['no message'])[0][:240]}"
