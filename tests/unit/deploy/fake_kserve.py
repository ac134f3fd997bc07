"""KServe on loopback: plays the controller of the fake Kubernetes API with real server processes as pods and a real gateway.

It follows what KServe 0.21 does in Standard mode: one Deployment per predictor and canary, replaced when its pod template changes; those
that nobody names any more are deleted; canaries get their weight of the route once they are ready; the admission rules for canaries.
"""

import asyncio
import copy
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sightline.cluster.api import INFERENCE_SERVICE
from sightline.deploy.wire import Endpoint, ExchangeError, format_head, read_head
from sightline.store.objects import open_store
from tests.fake_kubernetes import FakeKubernetes

NAMESPACE = "sightline-serving"


def refusal(body: dict[str, Any]) -> str:
    """What KServe's webhook says about canaries."""
    canaries, stable = body["spec"].get("canary") or [], body["spec"]["predictor"]
    if canaries and body["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode") != "Standard":
        return "canary is only supported in Standard deployment mode"
    names = [entry["predictor"].get("name") for entry in canaries]
    if not all(names) or len({*names, stable.get("name")}) != len(names) + 1:
        return f"canary names {names} are not distinct"
    if sum(entry["trafficPercent"] for entry in canaries) > 100:
        return "sum of canary trafficPercent values must be <= 100"
    for entry in canaries:
        scaling = {"maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec"} & set(entry["predictor"])
        if scaling:
            return f"canary must not set {scaling}"
        if entry["predictor"].get("minReplicas", 1) > stable.get("minReplicas", 1):
            return "canary minReplicas must not exceed stable predictor minReplicas"
    return ""


@dataclass
class Deployment:
    """One predictor as it runs."""

    template: str
    address: str
    process: subprocess.Popen[bytes]
    ready: bool = False


@dataclass
class FakeKServe:
    """The controller and the gateway; use it as a context manager.

    Attributes:
        extra: more arguments of the servers of a model, by its digest: how a model is made to misbehave.
        without_metrics: digests of models whose servers have no second port.
        started: predictor names of all servers that were ever started.
        answered: requests that reached each predictor through the gateway.
        unserved: how often the service had no ready predictor any more after it had one.
    """

    cluster: FakeKubernetes
    folder: Path
    extra: dict[str, list[str]] = field(default_factory=dict)
    without_metrics: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)
    unserved: int = 0

    def __enter__(self) -> Self:
        self.pod_port, self.metrics_port = _free_ports()
        self._deployments: dict[str, Deployment] = {}
        self._weights: list[tuple[str, int]] = []
        self._has_served = False
        self._random = random.Random(7)
        self._next_address = 10
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self.cluster.refusals[INFERENCE_SERVICE] = refusal
        self.cluster.controllers[INFERENCE_SERVICE] = lambda *_: self._wake.set()
        self._ready = threading.Event()
        self._threads = [threading.Thread(target=self._reconcile_until_stopped), threading.Thread(target=self._serve)]
        for thread in self._threads:
            thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._wake.set()
        self._loop.call_soon_threadsafe(self._done.set)
        for thread in self._threads:
            thread.join()
        for name in list(self._deployments):
            self._remove(name)

    def pids(self) -> dict[str, int]:
        """The process of each predictor."""
        return {name: deployment.process.pid for name, deployment in self._deployments.items()}

    def kill_pod(self, name: str) -> None:
        """Ends the process of a predictor and starts it again, as a kubelet does with a container that dies."""
        deployment = self._deployments[name]
        deployment.process.kill()
        deployment.process.wait()
        predictor = json.loads(deployment.template)
        deployment.process = self._process(predictor, deployment.address)

    def stop_reconciling(self) -> None:
        """From now on nobody looks at the service."""
        self._stopped.set()
        self._wake.set()

    def _reconcile_until_stopped(self) -> None:
        while not self._stopped.is_set():
            self._reconcile()
            self._wake.wait(0.05)
            self._wake.clear()

    def _reconcile(self) -> None:
        services = self.cluster.objects(INFERENCE_SERVICE)
        service = services[0] if services else None
        wanted = _predictors(service) if service else {}
        for name in set(self._deployments) - set(wanted):
            self._remove(name)
        for name, predictor in wanted.items():
            template = json.dumps({key: value for key, value in predictor.items() if key != "minReplicas"}, sort_keys=True)
            if name in self._deployments and self._deployments[name].template != template:
                self._remove(name)
            if name not in self._deployments:
                self._start(name, predictor, template)
        for deployment in self._deployments.values():
            deployment.ready = deployment.ready or _answers(deployment.address, self.pod_port)
        if service:
            self._report(service)

    def _start(self, name: str, predictor: dict[str, Any], template: str) -> None:
        self._next_address += 1
        address = f"127.0.0.{self._next_address}"
        self.started.append(name)
        self._deployments[name] = Deployment(template, address, self._process(predictor, address))

    def _process(self, predictor: dict[str, Any], address: str) -> subprocess.Popen[bytes]:
        model = predictor["model"]
        assert (model["modelFormat"], model["runtime"]) == ({"name": "sightline"}, "sightline")
        digest = model["storageUri"].rpartition("/")[2]
        command = [sys.executable, "-m", "sightline.serve", "--bundle", str(self._downloaded(model["storageUri"])), "--name", "sightline"]
        command += ["--host", address, "--port", str(self.pod_port), "--track", "route", "--parent-pid", str(os.getpid())]
        command += [] if digest in self.without_metrics else ["--metrics-port", str(self.metrics_port)]
        with (self.folder / f"{address}.log").open("ab") as log:
            return subprocess.Popen([*command, *model["args"], *self.extra.get(digest, [])], stdout=log, stderr=log)

    def _downloaded(self, uri: str) -> Path:
        """What the storage initializer does: every object below the address, nothing verified."""
        folder = self.folder / uri.rpartition("/")[2]
        store = open_store(uri)
        for key in store.list():
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(store.read(key))
        return folder

    def _remove(self, name: str) -> None:
        deployment = self._deployments.pop(name)
        deployment.process.send_signal(signal.SIGTERM)
        self.cluster.remove_pod(f"{name}-pod", namespace=NAMESPACE)
        deployment.process.wait(20)

    def _report(self, service: dict[str, Any]) -> None:
        name, canaries = service["metadata"]["name"], service["spec"].get("canary") or []
        for predictor, deployment in self._deployments.items():
            state = "True" if deployment.ready else "False"
            status = {"podIP": deployment.address, "phase": "Running", "conditions": [{"type": "Ready", "status": state}]}
            if deployment.process.poll() not in {None, 0}:
                status["containerStatuses"] = [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
                self.cluster.write_log(
                    f"{predictor}-pod",
                    (self.folder / f"{deployment.address}.log").read_text(),
                    container="kserve-container",
                    namespace=NAMESPACE,
                )
            labels = {"app": f"isvc.{name}-{predictor}-predictor"}
            self.cluster.put_pod(f"{predictor}-pod", labels, containers=["kserve-container"], status=status, namespace=NAMESPACE)
        ready = {predictor for predictor, deployment in self._deployments.items() if deployment.ready}
        stable = service["spec"]["predictor"]["name"]
        self._has_served = self._has_served or stable in ready
        self.unserved += self._has_served and stable not in ready
        percents = [(entry["predictor"]["name"], entry["trafficPercent"]) for entry in canaries if entry["predictor"]["name"] in ready]
        self._weights = [(stable, 100 - sum(percent for _, percent in percents)), *percents]
        status = {
            "observedGeneration": service["metadata"]["generation"],
            "url": f"http://sightline.example:{self.gateway_port}",
            "conditions": [{"type": "Ready", "status": "True" if stable in ready else "False"}],
            "canaryStatuses": [
                {
                    "name": entry["predictor"]["name"],
                    "ready": entry["predictor"]["name"] in ready,
                    "trafficPercent": entry["trafficPercent"],
                }
                for entry in canaries
            ],
        }
        if service.get("status") != status:
            self.cluster.set_status(INFERENCE_SERVICE, name, status, namespace=NAMESPACE)

    def _serve(self) -> None:
        asyncio.run(self._gateway())

    async def _gateway(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        self._endpoints: dict[str, Endpoint] = {}
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.gateway_port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._done.wait()
        server.close()
        for endpoint in self._endpoints.values():
            endpoint.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await read_head(reader)) is not None:
                assert head.headers["host"].startswith("sightline.example"), "the route listens to this host name only"
                await self._answer(head.first[1], head.headers, await reader.readexactly(head.length), writer)
        except (ConnectionError, ExchangeError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        name = self._random.choices([name for name, _ in self._weights], [weight for _, weight in self._weights])[0]
        self.answered[name] = self.answered.get(name, 0) + 1
        url = f"http://{self._deployments[name].address}:{self.pod_port}"
        kept = {key: value for key, value in headers.items() if key not in {"host", "content-length"}}
        try:
            endpoint = self._endpoints.setdefault(url, Endpoint(url))
            answer = await endpoint.request("POST", path, headers={**kept, "x-forwarded-for": "10.0.0.1"}, body=body, timeout_s=10)
            status, content = answer.status, answer.body
        except ExchangeError:
            status, content = 503, b"{}"
        writer.write(format_head(f"HTTP/1.1 {status} X", {}, len(content)) + content)
        await writer.drain()


def _predictors(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    stable = service["spec"]["predictor"]
    found = {stable["name"]: stable}
    for entry in service["spec"].get("canary") or []:
        merged = _merge(copy.deepcopy(stable), entry["predictor"])
        found[merged["name"]] = {key: value for key, value in merged.items() if key != "maxReplicas"}
    return found


def _merge(target: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """A canary is the stable predictor with its own fields on top."""
    for key, value in source.items():
        target[key] = _merge(target.get(key) or {}, value) if isinstance(value, dict) else value
    return target


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=0.5) as connection:
            connection.sendall(b"GET /v2/models/sightline/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("0.0.0.0", 0))  # noqa: S104 - free on every loopback address
        second.bind(("0.0.0.0", 0))  # noqa: S104
        return first.getsockname()[1], second.getsockname()[1]


def wait_for(condition: Any, *, seconds: float = 30.0) -> None:
    """Returns when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
