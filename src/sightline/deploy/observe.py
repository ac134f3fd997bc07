"""Reads the ``/observations`` pages of pods, so that a deployment without a router of its own sees every request with its client."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.deploy.judge import Arm, Observation
from sightline.deploy.wire import Endpoint, ExchangeError

# A pod that could not be read for so long hides what happens; nothing is promoted while one does.
STALE_S = 5.0
_TIMEOUT_S = 2.0
_MAX_LOST = 1000


@dataclass(frozen=True)
class Pod:
    """A pod with an address.

    Attributes:
        ready: whether clients are sent to it.
    """

    name: str
    address: str
    ready: bool


@dataclass(frozen=True)
class Seen:
    """One request, and when it was answered (Unix seconds by the pod's clock)."""

    time: float
    observation: Observation


class _Page(BaseModel):
    """The page of one server process; see ``sightline.serve.observations``."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    boot: str
    version: str
    first: int
    next: int
    requests: tuple[tuple[int, float, str, int, float], ...]


@dataclass
class _Cursor:
    """How far one pod was read: ``boot`` is empty before the first page."""

    after: int
    read_at: float
    boot: str = ""


def pods_of(found: Sequence[Mapping[str, Any]]) -> list[Pod]:
    """The pods that have an address and are not being deleted."""
    pods = []
    for pod in found:
        status = pod.get("status") or {}
        if pod["metadata"].get("deletionTimestamp") or not status.get("podIP"):
            continue
        ready = any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in status.get("conditions") or [])
        pods.append(Pod(str(pod["metadata"]["name"]), str(status["podIP"]), ready))
    return pods


class ArmReader:
    """The requests that the pods of one arm answered since the last look, each once.

    Args:
        arm: whose pods.
        version: of the model that they must serve.
        port: where the pages are.
        salt: of the client names; the same for both arms, so that a client that reaches both is one client.
        clock: seconds that only go forward.
    """

    def __init__(self, arm: Arm, *, version: str, port: int, salt: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._arm = arm
        self._version = version
        self._port = port
        self._salt = salt
        self._clock = clock
        self._cursors: dict[str, _Cursor] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._pods: list[Pod] = []
        self._only_new = True
        self.restarted = ""
        self.foreign = ""

    async def skip(self, pods: Sequence[Pod]) -> None:
        """Leaves out what the pods have answered so far."""
        self._only_new = True
        await self.read(pods)
        self._only_new = False

    async def read(self, pods: Sequence[Pod]) -> list[Seen]:
        """What is new; a pod that does not answer is read again at the next call, and nothing is lost by that.

        Requests that a pod has forgotten before they were read appear with a latency that is not a number, as ``Judge`` wants it.
        """
        self._pods = list(pods)
        for pod in pods:
            self._cursors.setdefault(pod.name, _Cursor(-1 if self._only_new else 0, self._clock()))
        pages = await asyncio.gather(*(self._page(pod) for pod in pods))
        return [seen for pod, page in zip(pods, pages, strict=True) if page is not None for seen in self._taken(pod, page)]

    def blind(self) -> str:
        """Which ready pod has not been read for ``STALE_S`` seconds; empty when all are seen, and there is one."""
        ready = [pod for pod in self._pods if pod.ready]
        if not ready:
            return f"no pod of the {self._arm} is ready"
        stale = [pod.name for pod in ready if self._clock() - self._cursors[pod.name].read_at > STALE_S]
        return f"{', '.join(stale)}: no observations can be read" if stale else ""

    def close(self) -> None:
        """Ends the connections."""
        for endpoint in self._endpoints.values():
            endpoint.close()
        self._endpoints.clear()

    async def _page(self, pod: Pod) -> _Page | None:
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        url = f"http://{host}:{self._port}"
        endpoint = self._endpoints.setdefault(url, Endpoint(url))
        path = f"/observations?after={max(0, self._cursors[pod.name].after)}&salt={self._salt}"
        try:
            response = await endpoint.request("GET", path, headers={}, body=b"", timeout_s=_TIMEOUT_S)
            return _Page.model_validate(json.loads(response.body)) if response.status == 200 else None
        except (ExchangeError, ValidationError, ValueError):
            return None

    def _taken(self, pod: Pod, page: _Page) -> list[Seen]:
        cursor = self._cursors[pod.name]
        if page.version != self._version:
            self.foreign = f"{pod.name} serves model {page.version}, expected {self._version}"
            return []
        cursor.read_at = self._clock()
        if cursor.boot and cursor.boot != page.boot:
            self.restarted = f"the server in {pod.name} was restarted"
            cursor.after, cursor.boot = 0, page.boot
            return []  # this page was asked for from another process's number on
        cursor.boot = page.boot
        if cursor.after < 0:
            cursor.after = page.next - 1
            return []
        lost = page.first - cursor.after - 1
        new = [row for row in page.requests if row[0] > cursor.after]
        cursor.after = new[-1][0] if new else max(cursor.after, page.first - 1)
        forgotten = [Seen(0.0, Observation(f"forgotten by {pod.name}", self._arm, error=False, latency_ms=math.nan))]
        return [*forgotten * max(0, min(lost, _MAX_LOST)), *(self._seen(row) for row in new)]

    def _seen(self, row: tuple[int, float, str, int, float]) -> Seen:
        _, at, client, status, latency_ms = row
        # A refusal (4xx) is the client's fault; 429 says that the server cannot keep up.
        return Seen(at, Observation(client, self._arm, error=status >= 500 or status == 429, latency_ms=latency_ms))
