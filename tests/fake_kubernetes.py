"""A Kubernetes API on loopback: a real HTTP server with the rules that callers depend on, and hooks that play the controllers.

It keeps objects of any kind with resource versions, optimistic replacement, JSON merge patches, label selectors, pods and their logs, and
answers as the real API server does (status codes, ``Status`` bodies), also to kubectl, which asks for the kinds first. It has no watches,
schemas, server-side tables or garbage collection.
"""

import copy
import json
import queue
import threading
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from sightline.cluster.api import INFERENCE_SERVICE, RAY_JOB, TRAIN_JOB, Kind
from tests.kubernetes_kinds import PODS, described

Object = dict[str, Any]
Change = Literal["created", "updated", "deleted"]
Controller = Callable[[Change, Object], None]
Refusal = Callable[[Object], str]
_TOKEN = "fake-token"  # noqa: S105 - of this server only


class FakeKubernetes:
    """The server; use it as a context manager and let ``KUBECONFIG`` point to ``kubeconfig``.

    Attributes:
        kubeconfig: a file that names this server.
        controllers: what is called, in one thread of the server, after each change of an object of a kind through the API. A hook may do
            what a controller does: ``set_status``, ``put_pod``, ``write_log``. It should start a thread of its own for long work.
        refusals: per kind, what an admission webhook would say about a new or changed object; empty accepts it.
        forbidden: pairs (verb, plural) that are answered 403.
        faults: status codes that the next requests get instead of an answer.
        anonymous: whether requests without a token are answered: kubectl sends none over plain HTTP.
        requests: every request so far: (method, path).
    """

    def __init__(
        self,
        folder: Path,
        *,
        kinds: Iterable[Kind] = (TRAIN_JOB, RAY_JOB, INFERENCE_SERVICE),
        namespaces: Iterable[str] = (),
        anonymous: bool = False,
    ) -> None:
        self.namespaces = {"sightline", "sightline-serving", "sightline-tracking", *namespaces}
        self.kinds = {PODS, *kinds}
        self.anonymous = anonymous
        self.controllers: dict[Kind, Controller] = {}
        self.refusals: dict[Kind, Refusal] = {}
        self.forbidden: set[tuple[str, str]] = set()
        self.faults: list[int] = []
        self.requests: list[tuple[str, str]] = []
        self.kubeconfig = folder / "kubeconfig.yaml"
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._logs: dict[tuple[str, str, str], str] = {}
        self._version = 100
        self._lock = threading.RLock()
        self._changes: queue.Queue[tuple[Kind, Change, Object] | None] = queue.Queue()
        self._problems: list[str] = []
        self._server = _Server(self)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=target) for target in (lambda: self._server.serve_forever(0.02), self._control)]
        for thread in self._threads:
            thread.start()
        address = f"http://127.0.0.1:{self._server.server_address[1]}"
        named = {"clusters": "cluster", "users": "user", "contexts": "context"}
        entries = {"cluster": {"server": address}, "user": {"token": _TOKEN}, "context": {"cluster": "fake", "user": "fake"}}
        lists = {plural: [{"name": "fake", one: entries[one]}] for plural, one in named.items()}
        self.kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "fake", **lists}))
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._changes.put(None)
        for thread in self._threads:
            thread.join()
        self._server.server_close()
        assert not self._problems, f"a controller failed:\n{self._problems[0]}"

    def settle(self) -> None:
        """Waits until the controllers have seen every change so far."""
        self._changes.join()

    def objects(self, kind: Kind) -> list[Object]:
        """Copies of all objects of a kind, by name."""
        with self._lock:
            found = [copy.deepcopy(thing) for (of, _, _), thing in self._objects.items() if of == kind]
        return sorted(found, key=lambda thing: thing["metadata"]["name"])

    def set_status(self, kind: Kind, name: str, status: Object, *, namespace: str = "sightline") -> None:
        """What a controller does when it reports; an object that is gone is left alone."""
        with self._lock:
            thing = self._objects.get((kind, namespace, name))
            if thing is not None:
                thing["status"] = copy.deepcopy(status)
                self._stamp(thing)

    def put(self, kind: Kind, body: Object, *, namespace: str = "") -> None:
        """Creates or replaces an object of any kind; ``namespace`` is empty for kinds that have none."""
        thing = copy.deepcopy(body)
        thing["metadata"] |= {"namespace": namespace} if namespace else {}
        with self._lock:
            self._objects[kind, namespace, thing["metadata"]["name"]] = thing
            self._stamp(thing)

    def put_pod(
        self, name: str, labels: Mapping[str, str], *, containers: Iterable[str] = ("main",), status: Object, namespace: str = "sightline"
    ) -> None:
        """Creates or replaces a pod."""
        spec = {"containers": [{"name": container, "image": "image"} for container in containers]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": spec, "status": status}
        self.put(PODS, body, namespace=namespace)

    def remove_pod(self, name: str, *, namespace: str = "sightline") -> None:
        """Removes a pod and its logs."""
        with self._lock:
            self._objects.pop((PODS, namespace, name), None)
            self._logs = {key: text for key, text in self._logs.items() if key[:2] != (namespace, name)}

    def write_log(self, pod: str, text: str, *, container: str = "main", namespace: str = "sightline") -> None:
        """Replaces what a container has written."""
        self._logs[namespace, pod, container] = text

    def _control(self) -> None:
        while (change := self._changes.get()) is not None:
            kind, what, thing = change
            try:
                if kind in self.controllers:
                    self.controllers[kind](what, thing)
            except Exception:  # noqa: BLE001 - shown when the server is closed
                self._problems.append(traceback.format_exc())
            finally:
                self._changes.task_done()
        self._changes.task_done()

    def _stamp(self, thing: Object) -> None:
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)

    # What follows is called by the request handler, under the lock.

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        name = body.get("metadata", {}).get("name", "")
        self._accept(kind, namespace, name, body)
        if (kind, namespace, name) in self._objects:
            raise _Answer(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', kind, name)
        thing = copy.deepcopy(body)
        thing["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": "2026-11-02T03:00:00Z",
        }
        thing.pop("status", None)
        self._objects[kind, namespace, name] = thing
        return self._changed(kind, "created", thing)

    def update(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        old = self.read(kind, namespace, name)
        self._accept(kind, namespace, name, body)
        version = body["metadata"].get("resourceVersion")
        if not version:
            raise _Answer(422, "Invalid", f'{kind.resource} "{name}" is invalid: metadata.resourceVersion: must be specified', kind, name)
        if version != old["metadata"]["resourceVersion"]:
            raise _Answer(409, "Conflict", f'Operation cannot be fulfilled on {kind.resource} "{name}": it has been modified', kind, name)
        kept = ("namespace", "uid", "creationTimestamp", "generation")
        thing = copy.deepcopy(body) | ({"status": old["status"]} if "status" in old else {})
        thing["metadata"] |= {field: old["metadata"][field] for field in kept}
        if thing.get("spec") != old.get("spec"):
            thing["metadata"]["generation"] += 1
        self._objects[kind, namespace, name] = thing
        return self._changed(kind, "updated", thing)

    def patch(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        merged = _merged(self.read(kind, namespace, name), body)
        return self.update(kind, namespace, name, merged)

    def delete(self, kind: Kind, namespace: str, name: str) -> Object:
        thing = self.read(kind, namespace, name)
        del self._objects[kind, namespace, name]
        self._changes.put((kind, "deleted", copy.deepcopy(thing)))
        return {"apiVersion": "v1", "kind": "Status", "status": "Success", "details": {"name": name, "kind": kind.plural}}

    def read(self, kind: Kind, namespace: str, name: str) -> Object:
        thing = self._objects.get((kind, namespace, name))
        if thing is None:
            raise _Answer(404, "NotFound", f'{kind.resource} "{name}" not found', kind, name)
        return thing

    def listed(self, kind: Kind, namespace: str, selector: str) -> Object:
        matches = [
            thing
            for (of, place, _), thing in self._objects.items()
            if of == kind and namespace in {"", place} and _selects(selector, thing["metadata"].get("labels") or {})
        ]
        return {"apiVersion": kind.api_version, "kind": "List", "metadata": {"resourceVersion": str(self._version)}, "items": matches}

    def log_lines(self, namespace: str, pod: str, container: str, tail: int) -> str:
        names = [entry["name"] for entry in self.read(PODS, namespace, pod)["spec"]["containers"]]
        if not container and len(names) > 1:
            raise _Answer(400, "BadRequest", f"a container name must be specified for pod {pod}, choose one of: {names}")
        if container and container not in names:
            raise _Answer(400, "BadRequest", f"container {container} is not valid for pod {pod}")
        lines = self._logs.get((namespace, pod, container or names[0]), "").splitlines(keepends=True)
        return "".join(lines[-tail:] if tail else lines)

    def _accept(self, kind: Kind, namespace: str, name: str, body: Object) -> None:
        if namespace not in self.namespaces:
            raise _Answer(404, "NotFound", f'namespaces "{namespace}" not found', Kind("", "v1", "namespaces"), namespace)
        if body.get("apiVersion") != kind.api_version or not body.get("kind"):
            raise _Answer(400, "BadRequest", f"the API version in the data ({body.get('apiVersion')}) does not match {kind.api_version}")
        if not name or name != name.lower() or len(name) > 63 or body["metadata"].get("namespace", namespace) != namespace:
            raise _Answer(422, "Invalid", f'{kind.resource} "{name}" is invalid: metadata.name or metadata.namespace', kind, name)
        problem = self.refusals.get(kind, lambda _: "")(body)
        if problem:
            raise _Answer(422, "Invalid", f'admission webhook denied the request: {kind.resource} "{name}": {problem}', kind, name)

    def _changed(self, kind: Kind, what: Change, thing: Object) -> Object:
        self._stamp(thing)
        self._changes.put((kind, what, copy.deepcopy(thing)))
        return thing


class _Answer(Exception):
    """An HTTP answer that ends the request."""

    def __init__(self, code: int, reason: str, message: str, kind: Kind | None = None, name: str = "") -> None:
        super().__init__(message)
        details = {"name": name, "group": kind.group, "kind": kind.plural} if kind else {}
        status = {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure"}
        self.code = code
        self.body = json.dumps(status | {"message": message, "reason": reason, "details": details, "code": code}).encode()


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return copy.deepcopy(result)


def _selects(selector: str, labels: Mapping[str, str]) -> bool:
    for term in filter(None, (part.strip() for part in selector.split(","))):
        key, unequal, value = term.partition("!=")
        if unequal:
            if labels.get(key.strip()) == value.strip():
                return False
            continue
        key, equal, value = term.replace("==", "=").partition("=")
        if key.strip() not in labels or (equal and labels[key.strip()] != value.strip()):
            return False
    return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cluster: FakeKubernetes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cluster = cluster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            code, content, form = self._answered(body)
        except _Answer as answer:
            code, content, form = answer.code, answer.body, "application/json"
        self.send_response(code)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answered(self, body: bytes) -> tuple[int, bytes, str]:
        cluster, url = self.server.cluster, urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        with cluster._lock:
            cluster.requests.append((self.command, url.path))
            if cluster.faults:
                raise _Answer(cluster.faults.pop(0), "Fault", "injected")
            token = f"Bearer {_TOKEN}"
            if self.headers.get("Authorization", token if cluster.anonymous else "") != token:
                raise _Answer(401, "Unauthorized", "Unauthorized")
            if (kinds := described(url.path, cluster.kinds)) is not None:
                return 200, json.dumps(kinds).encode(), "application/json"
            kind, namespace, name, part = _parsed(url.path)
            verb = _verb(self.command, name)
            if (verb, kind.plural) in cluster.forbidden:
                text = f'{kind.resource} is forbidden: User "system:serviceaccount:{namespace}:test" cannot {verb} resource "{kind.plural}"'
                raise _Answer(403, "Forbidden", text, kind, name)
            if kind not in cluster.kinds:
                return 404, b"404 page not found\n", "text/plain; charset=utf-8"
            if part == "log":
                text = cluster.log_lines(namespace, name, query.get("container", ""), int(query.get("tailLines", "0")))
                return 200, text.encode(), "text/plain; charset=utf-8"
            thing = self._object(verb, kind, (namespace, name), query, body)
            return (201 if verb == "create" else 200), json.dumps(thing).encode(), "application/json"

    def _object(self, verb: str, kind: Kind, place: tuple[str, str], query: Mapping[str, str], body: bytes) -> Object:
        cluster, (namespace, name) = self.server.cluster, place
        if verb == "list":
            return cluster.listed(kind, namespace, query.get("labelSelector", ""))
        if verb == "get":
            return cluster.read(kind, namespace, name)
        if verb == "delete":
            return cluster.delete(kind, namespace, name)
        if verb == "patch" and self.headers.get("Content-Type") != "application/merge-patch+json":
            raise _Answer(415, "UnsupportedMediaType", "this server only knows application/merge-patch+json")
        if verb == "create":
            return cluster.create(kind, namespace, json.loads(body))
        return (cluster.patch if verb == "patch" else cluster.update)(kind, namespace, name, json.loads(body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def log_message(self, *_: object) -> None:
        pass


def _parsed(path: str) -> tuple[Kind, str, str, str]:
    """(kind, namespace, name, part); the namespace is empty for kinds without one and for lists over all of them."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    root = 2 if parts[0] == "api" else 3
    if len(parts) <= root or parts[0] not in {"api", "apis"}:
        raise _Answer(404, "NotFound", "the server could not find the requested resource")
    group, version = ("", parts[1]) if root == 2 else (parts[1], parts[2])
    namespace, below = (parts[root + 1], parts[root + 2 :]) if parts[root] == "namespaces" and len(parts) > root + 2 else ("", parts[root:])
    plural, name, part = [*below, "", ""][:3]
    return Kind(group, version, plural), namespace, name, part


def _verb(method: str, name: str) -> str:
    if method == "GET":
        return "get" if name else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]
