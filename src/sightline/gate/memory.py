"""The memory that a model takes, measured in a process of its own: ``python -m sightline.gate.memory FOLDER VARIANT``."""

import gc
import subprocess
import sys
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import SightlineError
from sightline.models.bundle import ModelBundle

_TIMEOUT_S = 60.0
_CALLS = 8


class Memory(BaseModel):
    """What a variant adds to a process, or why it is not known.

    Attributes:
        added_mb: resident megabytes (10^6 bytes) that loading the variant (with its runtime's libraries) and answering single images add.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    added_mb: float | None = None
    problem: str = ""


def measure_memory(bundle: ModelBundle, variant: str, *, timeout_s: float = _TIMEOUT_S) -> Memory:
    """The memory of one variant. A fresh process is needed: in this one, libraries and pools of other models are there already.

    Cost: starting Python and loading the model, about 1 s for a small one.
    """
    command = [sys.executable, "-m", "sightline.gate.memory", str(bundle.artifact.folder), variant]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return Memory(problem=f"the model did not answer within {timeout_s:g} s in a process of its own")
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return Memory(problem=f"the process that measures it ended with code {done.returncode}: {''.join(last)[:300]}")
    try:
        return Memory.model_validate_json(done.stdout.splitlines()[-1] if done.stdout else b"")
    except ValidationError:
        return Memory(problem="the process that measures it gave no figure")


def main(arguments: Sequence[str]) -> int:
    """Writes the memory of a variant of a bundle as one line of JSON; returns the exit code."""
    folder, variant = arguments
    try:
        memory = Memory(added_mb=_added_mb(ModelBundle.open(folder), variant))
    except SightlineError as error:
        memory = Memory(problem=error.message)
    sys.stdout.write(memory.model_dump_json() + "\n")
    return 0


def _added_mb(bundle: ModelBundle, variant: str) -> float:
    import numpy as np
    import psutil

    from sightline.runtimes.base import load_predictor

    process, size_px = psutil.Process(), bundle.preprocessing.size_px
    image = np.zeros((1, size_px, size_px, 3), np.uint8)
    gc.collect()
    before = process.memory_info().rss
    predictor = load_predictor(bundle, variant)
    largest = process.memory_info().rss
    for _ in range(_CALLS):
        predictor.predict(image)
        largest = max(largest, process.memory_info().rss)
    return max(0.0, (largest - before) / 1e6)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
