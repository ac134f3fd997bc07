"""A small Argo server on loopback: real HTTP, the addresses and status codes of the real one, objects kept in memory."""

import http.server
import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

_KINDS = {
    "workflow-templates": "template",
    "cron-workflows": "cronWorkflow",
    "event-sources": "eventSource",
    "sensors": "sensor",
    "workflows": "workflow",
}


class ArgoServer(http.server.ThreadingHTTPServer):
    """Attributes:
    objects: by kind and name, as the address has the kind.
    token: what the Authorization header must be; empty: anybody.
    lines: what the log of each run holds.
    fail_with: status codes that the next requests get, whatever they are.
    requests: method and path of each request.
    interfere: called with the name of an object just before it is changed.
    created, acted: called with the kind and the object, with the run and the verb: what a controller would see.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.token = ""
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.fail_with: list[int] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.version = 0
        self.interfere: Callable[[str], object] = lambda _: None
        self.created: Callable[[str, dict[str, Any]], object] = lambda _kind, _body: None
        self.acted: Callable[[str, str], object] = lambda _name, _verb: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.objects[kind, body["metadata"]["name"]] = body
        return body

    def phase(self, name: str, phase: str) -> None:
        """Plays the controller."""
        self.objects["workflows", name]["status"] = {"phase": phase, "progress": "1/8", "startedAt": "2026-11-01T02:00:00Z"}


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ArgoServer

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self.server.requests.append(f"{self.command} {parts.path}")
        try:
            with self.server.lock:
                answer = self._answer(parts.path.split("/")[3:], parse_qs(parts.query), json.loads(body or b"{}"))
        except _Refused as refused:
            self._send(refused.status, json.dumps({"code": 3, "message": str(refused)}).encode())
            return
        content = (
            b"".join(json.dumps(line).encode() + b"\n" for line in answer) if isinstance(answer, list) else json.dumps(answer).encode()
        )
        self._send(200, content)

    def _answer(self, path: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        if self.server.fail_with:
            status = self.server.fail_with.pop(0)
            raise _Refused(status, "as the test wants it")
        if self.server.token and self.headers.get("Authorization") != self.server.token:
            raise _Refused(401, "token not valid")
        kind, _namespace, *rest = path
        return self._called(kind, rest, query, body)

    def _called(self, kind: str, rest: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        match self.command, rest:
            case "POST", []:
                return self._create(kind, body[_KINDS[kind]])
            case "GET", []:
                return self._list(kind, query)
            case "GET", [name]:
                return self._get(kind, name)
            case "PUT", [name]:
                self.server.interfere(name)
                return self._update(kind, name, body[_KINDS[kind]])
            case "DELETE", [name]:
                self._get(kind, name)
                del self.server.objects[kind, name]
                return {}
            case "GET", [name, "log"]:
                self._get(kind, name)
                selector = query.get("selector", [""])[0].rpartition("=")[2]
                return [line for line in self.server.lines.get(name, []) if not selector or f"-{selector}-" in json.dumps(line)]
            case "PUT", [name, verb]:
                return self._act(name, verb, body)
        raise _Refused(405, "method not allowed")

    def _create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        if (kind, name) in self.server.objects:
            raise _Refused(409, f'{kind}.argoproj.io "{name}" already exists')
        template = body["spec"].get("workflowTemplateRef", {}).get("name")
        if kind == "workflows" and ("workflow-templates", template) not in self.server.objects:
            raise _Refused(404, f'workflowtemplates.argoproj.io "{template}" not found')
        body["metadata"]["creationTimestamp"] = f"2026-11-01T02:00:{self.server.version:02d}Z"
        # The real server is written in Go: fields that nobody set come back empty.
        body["spec"].setdefault("arguments", {})
        self.server.put(kind, body)
        self.server.created(kind, body)
        return body

    def _list(self, kind: str, query: dict[str, list[str]]) -> dict[str, Any]:
        label, _, value = query.get("listOptions.labelSelector", [""])[0].partition("=")
        found = [
            body
            for (one, _), body in self.server.objects.items()
            if one == kind and label in body["metadata"].get("labels", {}) and value in ("", body["metadata"]["labels"][label])
        ]
        return {"metadata": {}, "items": found or None}

    def _get(self, kind: str, name: str) -> dict[str, Any]:
        if (kind, name) not in self.server.objects:
            raise _Refused(404, f'{kind}.argoproj.io "{name}" not found')
        return self.server.objects[kind, name]

    def _update(self, kind: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        version = body["metadata"].get("resourceVersion")
        if not version:
            raise _Refused(400, "metadata.resourceVersion: Invalid value: must be specified for an update")
        if version != self._get(kind, name)["metadata"]["resourceVersion"]:
            raise _Refused(409, "the object has been modified; please apply your changes to the latest version and try again")
        return self.server.put(kind, body)

    def _act(self, name: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        run = self._get("workflows", name)
        phase = run.get("status", {}).get("phase", "")
        if verb == "retry" and phase not in {"Failed", "Error"}:
            raise _Refused(400, "workflow must be Failed/Error to retry")
        after = {"retry": "Running", "resume": "Running"}.get(verb, phase)
        run["status"] = {**run.get("status", {}), "phase": after, "message": body.get("message", body.get("nodeFieldSelector", ""))}
        self.server.acted(name, verb)
        return run

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def log_message(self, *_: object) -> None:
        pass
