"""What Kubeflow Trainer and KubeRay do with a job, on this machine: they start its containers' commands as processes and report."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from sightline.cluster.api import RAY_JOB, TRAIN_JOB
from tests.fake_kubernetes import Change, FakeKubernetes, Object

_GONE_FIELDS = ("podSpecOverrides", "podTemplateOverrides")
_RESERVED = {"PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"}


class Trainer:
    """Plays Kubeflow Trainer 2.3: a process per node with the PET_* variables of the torch runtime; one failure ends the whole job.

    Attributes:
        started: how many jobs were started so far.
    """

    def __init__(self, server: FakeKubernetes, folder: Path) -> None:
        self.started = 0
        self._server = server
        self._folder = folder
        self._runs: dict[str, _Run] = {}
        server.controllers[TRAIN_JOB] = self._on_change
        server.refusals[TRAIN_JOB] = _refused

    def preempt(self, name: str, node: int) -> None:
        """Takes a node away: its processes are gone without a word."""
        self._runs[name].take_away(node)

    def close(self) -> None:
        """Ends what still runs."""
        for run in self._runs.values():
            run.stop()

    def _on_change(self, change: Change, thing: Object) -> None:
        name = thing["metadata"]["name"]
        if change == "deleted":
            self._runs.pop(name).stop()
        elif change == "created":
            self.started += 1
            self._runs[name] = _Run(self._server, thing, self._folder / f"{name}-{self.started}")
            self._runs[name].start()


def _refused(body: Object) -> str:
    """What the admission webhook and the schema say against a TrainJob."""
    spec = body["spec"]
    for field in _GONE_FIELDS:
        if field in spec:
            return f"spec.{field} is not a field"
    if reserved := _RESERVED & {entry["name"] for entry in spec["trainer"].get("env", ())}:
        return f"spec.trainer.env must not have reserved envs: {sorted(reserved)}"
    for patch in spec.get("runtimePatches", ()):
        for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            pod = job["template"]["spec"]["template"]["spec"]
            if "priorityClassName" in pod or any("env" in container for container in pod.get("containers", ())):
                return "a runtime patch may set neither priorityClassName nor the environment of the container node"
    return ""


class _Run:
    """One started TrainJob."""

    def __init__(self, server: FakeKubernetes, thing: Object, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._name = thing["metadata"]["name"]
        self._trainer = thing["spec"]["trainer"]
        self._nodes = range(self._trainer["numNodes"])
        self._taken: set[int] = set()
        self._stopped = False
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        port = _free_port()
        for node in self._nodes:
            variables = {
                "PET_NNODES": str(len(self._nodes)),
                "PET_NPROC_PER_NODE": str(self._trainer["numProcPerNode"]),
                "PET_NODE_RANK": str(node),
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port),
                "GLOO_SOCKET_IFNAME": "lo",
            }
            scratch = self._folder / f"node-{node}"
            self._processes.append(started(self._trainer["command"], self._trainer["env"], scratch, variables))
            self._show_pod(node, {"phase": "Running"})
        self._report({"jobsStatus": [{"name": "node", "active": len(self._nodes)}]})
        threading.Thread(target=self._wait, daemon=True).start()

    def stop(self) -> None:
        self._stopped = True
        for process in self._processes:
            end(process)
        for node in self._nodes:
            self._server.remove_pod(self._pod(node))

    def take_away(self, node: int) -> None:
        self._taken.add(node)
        end(self._processes[node])

    def _wait(self) -> None:
        codes: dict[int, int] = {}
        while len(codes) < len(self._nodes) and not any(codes.values()):
            for node, process in enumerate(self._processes):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    codes[node] = process.wait(0.05)
        for process in self._processes:  # the policy of a JobSet: one that failed ends all
            end(process)
        if self._stopped:
            return
        for node in self._nodes:
            self._show_pod(node, _ended(codes.get(node, 143), taken=node in self._taken))
            self._server.write_log(self._pod(node), (self._folder / f"node-{node}/log").read_text(errors="replace"), container="node")
        done = not any(codes.values())
        self._report({"conditions": [{"type": "Complete" if done else "Failed", "status": "True", "reason": "", "message": ""}]})

    def _show_pod(self, node: int, status: Object) -> None:
        labels = {"jobset.sigs.k8s.io/jobset-name": self._name}
        self._server.put_pod(self._pod(node), labels, containers=("node",), status=status)

    def _pod(self, node: int) -> str:
        return f"{self._name}-node-0-{node}-abcde"

    def _report(self, status: Object) -> None:
        self._server.set_status(TRAIN_JOB, self._name, status)


def _ended(code: int, *, taken: bool) -> Object:
    code = 128 - code if code < 0 else code
    state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
    status: Object = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"name": "node", "state": state}]}
    if taken:
        status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
    return status


class RayOperator:
    """Plays KubeRay: the entrypoint is a process here, with the address of a Ray that it starts by itself.

    Attributes:
        started: how many jobs were started so far.
    """

    def __init__(self, server: FakeKubernetes, folder: Path) -> None:
        self.started = 0
        self._server = server
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        server.controllers[RAY_JOB] = self._on_change

    def preempt(self, name: str) -> None:
        """Takes the head away, and with it the whole Ray cluster."""
        end(self._processes[name])

    def close(self) -> None:
        """Ends what still runs."""
        for process in self._processes.values():
            end(process)

    def _on_change(self, change: Change, thing: Object) -> None:
        name = thing["metadata"]["name"]
        if change == "deleted":
            end(self._processes.pop(name))
            self._server.remove_pod(f"{name}-head")
        elif change == "created":
            self.started += 1
            spec, scratch = thing["spec"], self._folder / f"{name}-{self.started}"
            container = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
            # Beside the operator's own Ray there is none here: the search starts one, as it does in a pod.
            self._processes[name] = started(spec["entrypoint"].split(), container["env"], scratch, {})
            self._report(name, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"})
            labels = spec["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["labels"]
            self._server.put_pod(f"{name}-head", labels, containers=("ray-head",), status={"phase": "Running"})
            threading.Thread(target=self._wait, args=(name, labels, scratch), daemon=True).start()

    def _wait(self, name: str, labels: Mapping[str, str], scratch: Path) -> None:
        process = self._processes[name]
        code = process.wait()
        if self._processes.get(name) is not process:
            return
        status = _ended(code, taken=code < 0)
        self._server.put_pod(f"{name}-head", labels, containers=("ray-head",), status=status)
        self._server.write_log(f"{name}-head", (scratch / "log").read_text(errors="replace"), container="ray-head")
        ended = {"jobStatus": "FAILED" if code else "SUCCEEDED", "jobDeploymentStatus": "Failed" if code else "Complete"}
        self._report(name, ended | ({"reason": "AppFailed", "message": "the entrypoint failed"} if code else {}))

    def _report(self, name: str, status: Object) -> None:
        self._server.set_status(RAY_JOB, name, status)


def started(command: list[str], env: list[Any], scratch: Path, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """A container's command as a process whose /scratch is a folder; ConfigMap references are what this process has."""
    scratch.mkdir(parents=True)
    inherited = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "AWS_DEFAULT_REGION": "us-east-1"}
    secrets = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    plain = {entry["name"]: entry["value"].replace("/scratch", str(scratch)) for entry in env if "value" in entry}
    named = {entry["valueFrom"]["configMapKeyRef"]["key"]: entry["name"] for entry in env if "valueFrom" in entry}
    referenced = {name: os.environ[key] for key, name in named.items() if key in os.environ}
    with (scratch / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            env={**inherited, **secrets, **plain, **referenced, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kills the process and all that it started."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
