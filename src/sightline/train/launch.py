"""Starts the training processes and follows them."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sightline.cluster.api import TRAIN_JOB, AbsentError, connect
from sightline.config.cluster import ClusterConfig
from sightline.errors import EnvironmentFault
from sightline.learn.child import Child, Event, run_child
from sightline.learn.remote import check_remote, run_remote
from sightline.learn.staging import stage
from sightline.store.steps import Progress
from sightline.train import __main__ as entry
from sightline.train.job import Epoch, Job
from sightline.train.result import take_result
from sightline.train.trainjob import train_job

_LOG = logging.getLogger(__name__)


def launch(job: Job, cluster: ClusterConfig, on_epoch: Callable[[Epoch], None], progress: Progress) -> list[Epoch]:
    """Trains the job where ``train.launcher`` says and returns its epochs; the weights are in the job's scratch folder.

    Raises:
        SightlineError: the training failed, was killed or took too long; nothing of it is left running.
    """
    if job.config.launcher == "trainjob":
        try:
            return _on_cluster(job, cluster, on_epoch, progress)
        except AbsentError as error:
            if job.config.num_nodes > 1 and not job.config.fall_back:
                raise EnvironmentFault(
                    f"{job.config.num_nodes} nodes need Kubeflow Trainer: {error.message}",
                    remedy="install it, set train.num_nodes=1, or allow all processes on one machine with train.fall_back=true",
                ) from error
            _LOG.warning("training runs on this machine, for %s", error.message)
    return _here(job, on_epoch)


def _here(job: Job, on_epoch: Callable[[Epoch], None]) -> list[Epoch]:
    """One process is started directly, several by torchrun on this machine, talking over the loopback interface.

    This process never imports torch. Start-up costs about 5 s for one process (torch and Lightning), 3 s more for torchrun.
    """
    path = Path(job.scratch) / "job.json"
    path.write_text(job.model_dump_json())
    epochs = _Epochs(on_epoch)
    run_child(_child(job, path), epochs)
    return epochs.all()


def _on_cluster(job: Job, cluster: ClusterConfig, on_epoch: Callable[[Epoch], None], progress: Progress) -> list[Epoch]:
    connection = connect(cluster.namespace)
    connection.get(TRAIN_JOB, "train")  # before anything is sent: is there a cluster with Kubeflow Trainer?
    check_remote(cluster, job.place)
    scratch = Path(job.scratch)
    if (epochs := take_result(job.place, scratch)) is not None:
        return epochs  # of an earlier attempt, which was ended after its training
    progress("sending the images")
    files = (*job.train.files, *job.val.files, *filter(None, [job.initial]))
    staged = stage(job.model_copy(update={"scratch": ""}), files, job.place)
    run_remote(train_job(job.config, cluster, staged, job.key), connection, _Epochs(on_epoch), progress)
    epochs = take_result(job.place, scratch)
    if epochs is None:
        raise EnvironmentFault(f"the TrainJob ended without a result at {job.place}", remedy="look at its pods' logs; run the step again")
    return epochs


class _Epochs:
    """Epochs by number: a resumed training says again what it had done before."""

    def __init__(self, on_epoch: Callable[[Epoch], None]) -> None:
        self._by_number: dict[int, Epoch] = {}
        self._on_epoch = on_epoch

    def __call__(self, event: Event) -> None:
        epoch = Epoch.model_validate(event)
        self._by_number[epoch.epoch] = epoch
        self._on_epoch(epoch)

    def all(self) -> list[Epoch]:
        return [self._by_number[number] for number in sorted(self._by_number)]


def _child(job: Job, path: Path) -> Child:
    num, scratch = job.config.num_processes * job.config.num_nodes, Path(job.scratch)
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
