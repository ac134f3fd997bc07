"""Starts the training processes and follows them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from sightline.learn.child import Child, run_child
from sightline.train import __main__ as entry
from sightline.train.job import Epoch, Job


def launch(job: Job, on_epoch: Callable[[Epoch], None]) -> list[Epoch]:
    """Trains the job in processes of its own and returns its epochs; the weights are in the job's scratch folder.

    One process is started directly, several by torchrun on this machine, talking over the loopback interface. This process never imports
    torch. Start-up costs about 5 s for one process (torch and Lightning), 3 s more for torchrun.

    Raises:
        SightlineError: the training failed, was killed or took too long; nothing of it is left running.
    """
    path = Path(job.scratch) / "job.json"
    path.write_text(job.model_dump_json())
    epochs: list[Epoch] = []

    def on_event(event: object) -> None:
        epochs.append(Epoch.model_validate(event))
        on_epoch(epochs[-1])

    run_child(_child(job, path), on_event)
    return epochs


def _child(job: Job, path: Path) -> Child:
    num, scratch = job.config.num_processes, Path(job.scratch)
    # The module object, not its name in a string: so the code that the child runs is part of the step's key.
    target = (entry.__name__, "--job", str(path))
    torchrun = ("torch.distributed.run", "--standalone", f"--nproc_per_node={num}", "--local-addr=127.0.0.1", f"--log-dir={scratch}", "-m")
    command = (sys.executable, "-m", *(torchrun if num > 1 else ()), *target)
    environment = {
        "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // num)),
        "GLOO_SOCKET_IFNAME": "lo",
        "TMPDIR": str(scratch),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
    return Child("training", command, scratch, job.config.timeout_s, "train.timeout_s", environment)
