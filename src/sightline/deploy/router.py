"""The weighted router: each client belongs to one arm, and whatever the canary fails, the incumbent answers."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sightline.deploy.judge import Arm, Observation
from sightline.deploy.targets.base import ArmRecord
from sightline.deploy.wire import MAX_HEAD_BYTES, Endpoint, ExchangeError, Head, Response, format_head, read_head
from sightline.serve.observations import CLIENT_HEADER
from sightline.serve.server import listen

_FORWARDED = ("content-type", "inference-header-content-length", "x-request-id", CLIENT_HEADER)
_RETURNED = ("content-type", "inference-header-content-length", "retry-after")
_HEADER_DEADLINE_S = 60.0
_BODY_DEADLINE_S = 30.0
_REASONS = {200: "OK", 400: "Bad Request", 502: "Bad Gateway"}


def belongs_to_canary(client: str, *, share: float, salt: str) -> bool:
    """Whether a client is the canary's: the same answer for the same client and salt, and a new draw with each salt."""
    digest = hashlib.blake2b(client.encode("utf-8", "replace"), digest_size=8, key=salt.encode()[:64]).digest()
    return int.from_bytes(digest, "big") < share * 2**64


@dataclass(frozen=True)
class Routing:
    """How requests are split.

    Attributes:
        share: share of clients that the canary answers.
        salt: key of the hash, a new one for each deployment so that no client is always the guinea pig.
        timeout_s: the canary's time for an answer; the incumbent gets it again.
        slo_ms: slower answers are counted as slow.
    """

    share: float
    salt: str
    timeout_s: float
    slo_ms: float


@dataclass(frozen=True)
class _Attempt:
    response: Response | None
    latency_ms: float

    @property
    def usable(self) -> bool:
        return self.response is not None and self.response.status == 200 and is_valid_answer(self.response)

    @property
    def clients_fault(self) -> bool:
        return self.response is not None and 400 <= self.response.status < 500 and self.response.status != 429


class Router:
    """Answers clients on one port.

    Args:
        canary: the new model's server.
        incumbent: the server of the model in production; None for a first deployment, then everything goes to the canary.
        observe: called with every inference request, after it was answered.
    """

    def __init__(self, *, canary: Endpoint, incumbent: Endpoint | None, routing: Routing, observe: Callable[[Observation], None]) -> None:
        self._endpoints: dict[Arm, Endpoint | None] = {"canary": canary, "incumbent": incumbent}
        self._routing = routing
        self._observe = observe
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.canary_share = routing.share if incumbent else 1.0
        self.arms: dict[Arm, ArmRecord] = {arm: ArmRecord() for arm, endpoint in self._endpoints.items() if endpoint is not None}
        self.num_fallbacks = 0
        self.num_client_errors = 0

    async def start(self, host: str, port: int) -> str:
        """Listens; returns the base URL. Port 0 takes a free one; EnvironmentFault when the port is taken."""
        self._server = await asyncio.start_server(self._connected, sock=listen(host, port), limit=MAX_HEAD_BYTES)
        taken = self._server.sockets[0].getsockname()[1]
        return f"http://[{host}]:{taken}" if ":" in host else f"http://{host}:{taken}"

    def withdraw_canary(self) -> None:
        """Sends every further request to the incumbent; without one there is nowhere else to send it."""
        if self._endpoints["incumbent"] is not None:
            self.canary_share = 0.0

    async def close(self) -> None:
        """Stops listening and ends all connections."""
        if self._server:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for endpoint in self._endpoints.values():
            if endpoint is not None:
                endpoint.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, was too slow, or the router is closing
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers the connection's next request; False when the connection ends."""
        try:
            async with asyncio.timeout(_HEADER_DEADLINE_S):
                head = await read_head(reader)
            if head is None:
                return False
            if len(head.first) != 3 or not head.first[2].startswith("HTTP/1."):
                raise ExchangeError("malformed request line")
            async with asyncio.timeout(_BODY_DEADLINE_S):
                body = await reader.readexactly(head.length)
        except ExchangeError as error:
            await _write(writer, Response(400, {"content-type": "application/json"}, _error(str(error))), keep=False)
            return False
        peer = writer.get_extra_info("peername") or ("unknown",)
        response = await self._answer(head, body, client=head.headers.get(CLIENT_HEADER) or f"address:{peer[0]}")
        keep = head.headers.get("connection", "").lower() != "close" and head.first[2] == "HTTP/1.1"
        await _write(writer, response, keep=keep)
        return keep

    async def _answer(self, head: Head, body: bytes, *, client: str) -> Response:
        incumbent = self._endpoints["incumbent"]
        is_inference = head.first[0] == "POST" and head.first[1].endswith("/infer")
        if not is_inference:
            attempt = await self._ask("incumbent" if incumbent else "canary", head, body)
            return attempt.response or _unavailable()
        arm: Arm = "canary" if belongs_to_canary(client, share=self.canary_share, salt=self._routing.salt) else "incumbent"
        attempt = await self._ask(arm, head, body)
        final, error = attempt, not attempt.usable and (not attempt.clients_fault or incumbent is None)
        if arm == "canary" and incumbent and not attempt.usable:
            final = await self._ask("incumbent", head, body)
            # A request that the incumbent refuses as well is the client's fault, unless the canary failed in another way.
            error = final.usable or not attempt.clients_fault
            self.num_fallbacks += final.usable
        self._record(arm, client, attempt, error=error)
        response = final.response or _unavailable()
        self.num_client_errors += response.status != 200
        return response

    async def _ask(self, arm: Arm, head: Head, body: bytes) -> _Attempt:
        endpoint = self._endpoints[arm]
        headers = {name: head.headers[name] for name in _FORWARDED if name in head.headers}
        started = time.perf_counter()
        response = None
        if endpoint is not None:
            try:
                response = await endpoint.request(
                    head.first[0], head.first[1], headers=headers, body=body, timeout_s=self._routing.timeout_s
                )
            except ExchangeError:
                response = None
        return _Attempt(response, (time.perf_counter() - started) * 1e3)

    def _record(self, arm: Arm, client: str, attempt: _Attempt, *, error: bool) -> None:
        self.arms[arm].add(attempt.latency_ms, error=error, slo_ms=self._routing.slo_ms)
        self._observe(Observation(client, arm, error, attempt.latency_ms))


def is_valid_answer(response: Response) -> bool:
    """Whether a 200 response holds named, non-empty outputs whose numbers are finite."""
    length = response.headers.get("inference-header-content-length", str(len(response.body)))
    try:
        answer = json.loads(response.body[: int(length)], parse_constant=_refuse_constant)
        outputs = answer["outputs"]
        return bool(outputs) and all(output["name"] and (output.get("data") or "parameters" in output) for output in outputs)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


def _unavailable() -> Response:
    return Response(502, {"content-type": "application/json"}, _error("the model does not answer"))


async def _write(writer: asyncio.StreamWriter, response: Response, *, keep: bool) -> None:
    headers: Mapping[str, str] = {name: response.headers[name] for name in _RETURNED if name in response.headers}
    first = f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Status')}"
    writer.write(format_head(first, headers if keep else {**headers, "connection": "close"}, len(response.body)) + response.body)
    await writer.drain()
