"""The ASGI application: routes, limits and answers."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from sightline.serve.engine import Engine
from sightline.serve.faults import DrillError
from sightline.serve.metrics import Metrics
from sightline.serve.observations import PROBE_HEADER, SENTINEL, Observations, client_of
from sightline.serve.protocol import OUTPUTS, RefusedError, format_response, parse_request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Reply = tuple[int, list[tuple[bytes, bytes]], bytes]

MAX_BODY_BYTES = 10_000_000
MAX_HEADER_BYTES = 16_384
BODY_DEADLINE_S = 30.0
_JSON = (b"content-type", b"application/json")
_log = logging.getLogger(__name__)


class DisconnectedError(Exception):
    """The client went away before its request was complete."""


class App:
    """Open Inference Protocol v2 over ASGI.

    Args:
        engine: the model; loaded in the background when the server starts.
        name: the model's name in URLs.
        track: stable, canary, or route, where the route decides which one it is.
        ops_port: the port on which ``/metrics`` and ``/observations`` are answered and nothing else; None: ``/metrics`` is answered beside
            the model, ``/observations`` nowhere.
        on_load_failure: called when the model cannot be loaded, so that the process ends instead of never becoming ready.
    """

    def __init__(
        self, engine: Engine, *, name: str, track: str, on_load_failure: Callable[[BaseException], None], ops_port: int | None = None
    ) -> None:
        self._engine = engine
        self._name = name
        self._version = engine.bundle.digest[:12]
        self._metrics = Metrics(model=name, version=self._version, track=track)
        self._observations = Observations(self._version)
        self._ops_port = ops_port
        self._on_load_failure = on_load_failure
        self._loading: asyncio.Future[None] | None = None
        self._infer_path = f"/v2/models/{name}/infer"
        self._pages: dict[str, Callable[[], Reply]] = {
            "/v2": self._server_page,
            "/v2/health/live": lambda: _json_reply(200, {"live": True}),
            "/v2/health/ready": self._ready_page,
            f"/v2/models/{name}": self._model_page,
            f"/v2/models/{name}/ready": self._ready_page,
        }
        if ops_port is None:
            self._pages["/metrics"] = self._metrics_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or takes part in starting and stopping the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        started = time.perf_counter()
        try:
            status, headers, body = await self._reply(scope, receive)
        except DisconnectedError:
            return
        if scope["path"] == self._infer_path:
            self._count(scope, status, time.perf_counter() - started)
        headers = [*headers, (b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        self._metrics.request(status, seconds)
        if (PROBE_HEADER.encode(), SENTINEL.encode()) not in scope["headers"]:
            self._observations.add(client_of(scope["headers"], (scope.get("client") or ("unknown",))[0]), status, seconds)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._loading = asyncio.get_running_loop().run_in_executor(None, self._engine.load)
        self._loading.add_done_callback(self._loaded)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._engine.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _loaded(self, loading: "asyncio.Future[None]") -> None:
        error = None if loading.cancelled() else loading.exception()
        if error is not None:
            self._on_load_failure(error)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        try:
            headers = _headers(scope)
            if self._ops_port is not None and scope["server"][1] == self._ops_port:
                return self._ops_page(scope)
            if scope["path"] == self._infer_path:
                if scope["method"] != "POST":
                    return _refusal(RefusedError(405, "use POST"), [(b"allow", b"POST")])
                return await self._infer(headers, receive)
            page = self._pages.get(scope["path"])
            if page is None:
                raise RefusedError(404, f"not found; the model is served at /v2/models/{self._name}")
            if scope["method"] not in {"GET", "HEAD"}:
                return _refusal(RefusedError(405, "use GET"), [(b"allow", b"GET, HEAD")])
            return page()
        except RefusedError as refused:
            return _refusal(refused, [(b"retry-after", b"1")] if refused.status in {429, 503} else [])

    async def _infer(self, headers: dict[bytes, bytes], receive: Receive) -> Reply:
        header_length = _number(headers, b"inference-header-content-length")
        body = await _body(headers, receive)
        try:
            request = parse_request(body, header_length=header_length, size_px=self._engine.bundle.preprocessing.size_px)
            answer = await self._engine.infer(request, logged=PROBE_HEADER.encode() not in headers)
            self._metrics.answered(answer.labels)
            text, json_length = format_response(request, answer, model=self._name, version=self._version)
        except DrillError:
            raise RefusedError(500, "internal error (drill)") from None
        except RefusedError:
            raise
        except Exception:  # noqa: BLE001 - a bug that one request meets must not take the connection down without an answer
            _log.exception("a request failed")
            raise RefusedError(500, "internal error") from None
        if json_length is None:
            return 200, [_JSON], text
        extra = (b"inference-header-content-length", str(json_length).encode())
        return 200, [(b"content-type", b"application/octet-stream"), extra], text

    def _ops_page(self, scope: Scope) -> Reply:
        """What operations may see and clients may not."""
        if scope["path"] == "/metrics":
            return self._metrics_page()
        if scope["path"] != "/observations":
            raise RefusedError(404, "not found; there are /metrics and /observations")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        after = query.get("after", "0")
        if not (after.isdecimal() and after.isascii() and len(after) <= 18):
            raise RefusedError(400, "after is not a number")
        return _json_reply(200, self._observations.page(int(after), query.get("salt", "")))

    def _server_page(self) -> Reply:
        import sightline

        version = getattr(sightline, "__version__", "0")
        return _json_reply(200, {"name": "sightline", "version": version, "extensions": ["binary_tensor_data"]})

    def _ready_page(self) -> Reply:
        return _json_reply(200 if self._engine.ready else 503, {"name": self._name, "ready": self._engine.ready})

    def _model_page(self) -> Reply:
        info, size_px = self._engine.bundle.info, self._engine.bundle.preprocessing.size_px
        shapes: dict[str, list[Any]] = {
            "probabilities": ["FP32", [-1, len(info.classes)]],
            "label": ["BYTES", [-1]],
            "embedding": ["FP32", [-1, info.embedding_dim]],
        }
        page = {
            "name": self._name,
            "versions": [self._version],
            "platform": info.chosen,
            "inputs": [
                {"name": "images", "datatype": "UINT8", "shape": [-1, size_px, size_px, 3]},
                {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]},
            ],
            "outputs": [{"name": name, "datatype": shapes[name][0], "shape": shapes[name][1]} for name in OUTPUTS],
            "parameters": {"classes": list(info.classes), "digest": self._engine.bundle.digest},
        }
        return _json_reply(200, page)

    def _metrics_page(self) -> Reply:
        self._metrics.num_waiting = self._engine.num_waiting
        text = self._metrics.text(num_dropped=self._engine.num_dropped, ready=self._engine.ready)
        return 200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], text.encode()


def _json_reply(status: int, value: dict[str, Any]) -> Reply:
    return status, [_JSON], json.dumps(value, separators=(",", ":")).encode()


def _refusal(refused: RefusedError, extra: list[tuple[bytes, bytes]]) -> Reply:
    status, headers, body = _json_reply(refused.status, {"error": refused.text})
    # The rest of a body that was not read would be taken for the next request.
    close = [(b"connection", b"close")] if refused.status in {408, 413, 431} else []
    return status, [*headers, *extra, *close], body


def _headers(scope: Scope) -> dict[bytes, bytes]:
    raw: list[tuple[bytes, bytes]] = scope["headers"]
    if sum(len(name) + len(value) for name, value in raw) > MAX_HEADER_BYTES:
        raise RefusedError(431, f"the headers are larger than {MAX_HEADER_BYTES} bytes")
    return dict(raw)


def _number(headers: dict[bytes, bytes], name: bytes) -> int | None:
    value = headers.get(name)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 12:
        raise RefusedError(400, f"{name.decode()} is not a number")
    return int(value)


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    if (_number(headers, b"content-length") or 0) > MAX_BODY_BYTES:
        raise RefusedError(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise RefusedError(400, "compressed bodies are not accepted")
    parts, size, more = [], 0, True
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise RefusedError(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {BODY_DEADLINE_S:g} s") from None
    return b"".join(parts)
