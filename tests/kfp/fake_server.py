"""A double of the Kubeflow Pipelines API server (v2beta1) on loopback; no Kubernetes, no Argo, nothing of the real server's code.

What it does for real: it takes the requests of the real client over HTTP, refuses what the real server's messages do not have (unknown
fields, query parameters and pipeline parameters, values of another type or outside a choice), and executes a submitted pipeline
from its uploaded YAML through kfp.local in a process of its own. What it does not do: placement (resources, pools, volumes, retries of
single tasks), multi-user mode, authentication, artifacts' metadata. A test that passes here can still fail on a cluster for these.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api
import yaml

Object = dict[str, Any]
_PREFIX = "/apis/v2beta1"
_REPOSITORY = Path(__file__).resolve().parents[2]
_LISTING = {"page_token", "page_size", "sort_by", "filter", "namespace"}
_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "STRUCT": (dict,),
    "LIST": (list,),
}


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeKubeflow:
    """The server; use it as a context manager and give ``host`` to the client.

    Attributes:
        host: its address.
        requests: every request so far: (method, path).
        faults: status codes that the next requests get instead of an answer.
        environment: what pods get from the cluster's ConfigMap, besides the server's own address.
    """

    def __init__(self, folder: Path) -> None:
        self.requests: list[tuple[str, str]] = []
        self.faults: list[int] = []
        self.environment: dict[str, str] = {}
        self._folder = folder
        self._lock = threading.RLock()
        self._objects: dict[str, dict[str, Object]] = {
            kind: {} for kind in ("experiments", "pipelines", "versions", "runs", "recurringruns")
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.host = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._threads = [threading.Thread(target=self._http.serve_forever), threading.Thread(target=self._keep_time)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        for process in self._processes.values():
            _kill(process)
        for thread in self._threads:
            thread.join()

    def answer(self, method: str, target: str, body: bytes, content_type: str) -> Object:
        """What the server says to one request."""
        parts = urlsplit(target)
        self.requests.append((method, parts.path))
        if self.faults:
            raise RefusedError(self.faults.pop(0), "a fault of the test")
        query = dict(parse_qsl(parts.query))
        for verb, pattern, known, call in self._routes():
            match = re.fullmatch(_PREFIX + pattern, parts.path)
            if match and verb == method:
                if unknown := set(query) - known:
                    raise RefusedError(400, f"unknown query parameter {sorted(unknown)}")
                with self._lock:
                    return call(query=query, body=body, content_type=content_type, **match.groupdict())
        raise RefusedError(404, f"no such path: {method} {parts.path}")

    def _routes(self) -> list[tuple[str, str, set[str], Callable[..., Object]]]:
        one = r"/(?P<name>[^/:]+)"
        return [
            ("GET", "/healthz", set(), lambda **_: {"multi_user": False}),
            ("POST", "/experiments", set(), self._create_experiment),
            ("GET", "/experiments", _LISTING, self._lists("experiments")),
            ("GET", f"/experiments{one}", set(), self._gets("experiments")),
            ("POST", "/pipelines", set(), self._create_pipeline),
            ("GET", "/pipelines", _LISTING, self._lists("pipelines")),
            ("POST", "/pipelines/upload_version", {"name", "display_name", "pipelineid", "description"}, self._upload_version),
            ("GET", f"/pipelines{one}", set(), self._gets("pipelines")),
            ("GET", r"/pipelines/(?P<pipeline>[^/:]+)/versions", _LISTING, self._list_versions),
            ("GET", rf"/pipelines/(?P<pipeline>[^/:]+)/versions{one}", set(), self._gets("versions")),
            ("POST", "/runs", {"experiment_id"}, self._create_run),
            ("GET", "/runs", _LISTING | {"experiment_id"}, self._lists("runs")),
            ("GET", f"/runs{one}", {"experiment_id"}, self._gets("runs")),
            ("POST", f"/runs{one}:terminate", {"experiment_id"}, self._terminate),
            ("POST", f"/runs{one}:retry", {"experiment_id"}, self._retry),
            ("POST", "/recurringruns", set(), self._create_recurring),
            ("GET", "/recurringruns", _LISTING | {"experiment_id"}, self._lists("recurringruns")),
            ("GET", f"/recurringruns{one}", set(), self._gets("recurringruns")),
            ("DELETE", f"/recurringruns{one}", {"propagation_policy"}, self._delete_recurring),
            ("POST", f"/recurringruns{one}:enable", set(), self._switches("ENABLED")),
            ("POST", f"/recurringruns{one}:disable", set(), self._switches("DISABLED")),
        ]

    def _gets(self, kind: str) -> Callable[..., Object]:
        return lambda name, **_: dict(self._one(kind, name))

    def _one(self, kind: str, name: str) -> Object:
        found = self._objects[kind].get(name)
        if found is None:
            raise RefusedError(404, f"{kind}: {name} not found")
        return found

    def _lists(self, kind: str) -> Callable[..., Object]:
        names = {"recurringruns": "recurringRuns"}
        return lambda query, **_: self._page(list(self._objects[kind].values()), query, names.get(kind, kind))

    def _list_versions(self, pipeline: str, query: Mapping[str, str], **_: object) -> Object:
        self._one("pipelines", pipeline)
        return self._page([one for one in self._objects["versions"].values() if one["pipeline_id"] == pipeline], query, "pipeline_versions")

    def _page(self, found: list[Object], query: Mapping[str, str], key: str) -> Object:
        if query.get("namespace"):
            raise RefusedError(400, "in single-user mode a list cannot be of a namespace")
        if query.get("experiment_id"):
            found = [one for one in found if one["experiment_id"] == query["experiment_id"]]
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            # The client's constants say 1, its documentation says EQUALS; the server takes both.
            if predicate["operation"] not in {"EQUALS", 1} or predicate["key"] not in {"display_name", "name"}:
                raise RefusedError(400, f"cannot filter by {predicate}")
            found = [one for one in found if one["display_name"] == predicate["stringValue"]]
        field, _, order = (query.get("sort_by") or "created_at").partition(" ")
        found = sorted(found, key=lambda one: one[field], reverse=order == "desc")
        start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 10)
        more = {"next_page_token": str(start + size)} if start + size < len(found) else {}
        return {key: found[start : start + size], "total_size": len(found), **more}

    def _create_experiment(self, body: bytes, **_: object) -> Object:
        wanted = _checked(body, kfp_server_api.V2beta1Experiment, required=("display_name",))
        if wanted.get("namespace"):
            raise RefusedError(400, "in single-user mode an experiment has no namespace")
        if any(one["display_name"] == wanted["display_name"] for one in self._objects["experiments"].values()):
            raise RefusedError(409, f"experiment {wanted['display_name']} is already there")
        return self._keep("experiments", "experiment_id", wanted)

    def _create_pipeline(self, body: bytes, **_: object) -> Object:
        wanted = _checked(body, kfp_server_api.V2beta1Pipeline, required=("display_name",))
        if any(one["display_name"] == wanted["display_name"] for one in self._objects["pipelines"].values()):
            raise RefusedError(409, f"pipeline {wanted['display_name']} is already there")
        return self._keep("pipelines", "pipeline_id", wanted)

    def _upload_version(self, query: Mapping[str, str], body: bytes, content_type: str, **_: object) -> Object:
        pipeline = self._one("pipelines", query.get("pipelineid", ""))
        text = _uploaded(body, content_type)
        documents = list(yaml.safe_load_all(text))
        if not documents or "pipelineInfo" not in documents[0]:
            raise RefusedError(400, "the file is no pipeline specification")
        if any(
            one["display_name"] == query["name"] and one["pipeline_id"] == pipeline["pipeline_id"]
            for one in self._objects["versions"].values()
        ):
            raise RefusedError(409, f"version {query['name']} is already there")
        made = self._keep(
            "versions",
            "pipeline_version_id",
            {"display_name": query["name"], "pipeline_id": pipeline["pipeline_id"], "pipeline_spec": documents[0]},
        )
        self._file_of(made["pipeline_version_id"]).write_bytes(text)
        return made

    def _file_of(self, version: str) -> Path:
        return self._folder / f"{version}.yaml"

    def _keep(self, kind: str, id_field: str, wanted: Object) -> Object:
        made = {**wanted, id_field: str(uuid.uuid4()), "created_at": _now()}
        self._objects[kind][made[id_field]] = made
        return dict(made)

    def _create_run(self, body: bytes, **_: object) -> Object:
        wanted = _checked(body, kfp_server_api.V2beta1Run, required=("display_name", "experiment_id", "pipeline_version_reference"))
        return self._start_run(wanted)

    def _start_run(self, wanted: Object) -> Object:
        self._one("experiments", wanted["experiment_id"])
        self._check_parameters(wanted)
        run = self._keep("runs", "run_id", {**wanted, "state": "PENDING", "storage_state": "AVAILABLE"})
        self._execute(run["run_id"])
        return dict(self._objects["runs"][run["run_id"]])

    def _check_parameters(self, wanted: Object) -> None:
        reference = wanted["pipeline_version_reference"]
        version = self._one("versions", reference.get("pipeline_version_id", ""))
        known = version["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        given = (wanted.get("runtime_config") or {}).get("parameters") or {}
        for name, value in given.items():
            if name not in known:
                raise RefusedError(400, f"parameter {name} is not one of the pipeline's")
            if not isinstance(value, _TYPES[known[name]["parameterType"]]):
                raise RefusedError(400, f"parameter {name} is no {known[name]['parameterType']}: {value!r}")
            if value not in known[name].get("literals", [value]):
                raise RefusedError(400, f"parameter {name} is none of {known[name]['literals']}")
        missing = [name for name, one in known.items() if name not in given and "defaultValue" not in one and not one.get("isOptional")]
        if missing:
            raise RefusedError(400, f"parameters without a value: {missing}")

    def _execute(self, run_id: str) -> None:
        run = self._objects["runs"][run_id]
        folder = self._folder / run_id
        folder.mkdir(exist_ok=True)
        arguments = folder / "arguments.json"
        arguments.write_text(json.dumps((run.get("runtime_config") or {}).get("parameters") or {}))
        pipeline = self._file_of(run["pipeline_version_reference"]["pipeline_version_id"])
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.kfp.execute", str(pipeline), str(arguments), str(folder)],
                cwd=_REPOSITORY,
                env={**os.environ, "SIGHTLINE_RUN_ID": run_id, "SIGHTLINE_KFP_HOST": self.host, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        run["state"] = "RUNNING"
        self._processes[run_id] = process

    def _terminate(self, name: str, **_: object) -> Object:
        run = self._one("runs", name)
        if run["state"] not in {"PENDING", "RUNNING"}:
            raise RefusedError(400, f"run {name} is {run['state']}")
        run["state"] = "CANCELING"
        _kill(self._processes[name])
        return {}

    def _retry(self, name: str, **_: object) -> Object:
        run = self._one("runs", name)
        if run["state"] not in {"FAILED", "CANCELED"}:
            raise RefusedError(400, f"run {name} is {run['state']}, only a failed run can be retried")
        run.pop("finished_at", None)
        self._execute(name)
        return {}

    def _create_recurring(self, body: bytes, **_: object) -> Object:
        required = ("display_name", "experiment_id", "max_concurrency", "trigger", "mode", "pipeline_version_reference")
        wanted = _checked(body, kfp_server_api.V2beta1RecurringRun, required=required)
        self._one("experiments", wanted["experiment_id"])
        self._check_parameters(wanted)
        if not 1 <= int(wanted["max_concurrency"]) <= 10:
            raise RefusedError(400, f"max_concurrency {wanted['max_concurrency']} is outside 1 to 10")
        cron = (wanted["trigger"].get("cron_schedule") or {}).get("cron", "")
        if len(cron.split()) != 6:
            raise RefusedError(400, f"cron '{cron}' has not six fields")
        status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[wanted["mode"]]
        filled = {**wanted, "status": status, "service_account": wanted.get("service_account") or "pipeline-runner"}
        return self._keep("recurringruns", "recurring_run_id", filled)

    def _delete_recurring(self, name: str, **_: object) -> Object:
        self._one("recurringruns", name)
        del self._objects["recurringruns"][name]
        return {}

    def _switches(self, status: str) -> Callable[..., Object]:
        def switch(name: str, **_: object) -> Object:
            self._one("recurringruns", name)["status"] = status
            return {}

        return switch

    def _keep_time(self) -> None:
        second = int(time.time())
        while not self._closing.wait(0.05):
            with self._lock:
                self._settle()
                if int(time.time()) > second:
                    second = int(time.time())
                    self._fire(datetime.fromtimestamp(second, UTC))

    def _settle(self) -> None:
        for run_id, process in list(self._processes.items()):
            if process.poll() is not None:
                run = self._objects["runs"][run_id]
                canceled = run["state"] == "CANCELING"
                run["state"] = "CANCELED" if canceled else "SUCCEEDED" if process.returncode == 0 else "FAILED"
                run["finished_at"] = _now()
                del self._processes[run_id]

    def _fire(self, moment: datetime) -> None:
        for recurring in self._objects["recurringruns"].values():
            own = [run for run in self._objects["runs"].values() if run.get("recurring_run_id") == recurring["recurring_run_id"]]
            busy = sum(run["state"] in {"PENDING", "RUNNING"} for run in own)
            if recurring["status"] != "ENABLED" or busy >= int(recurring["max_concurrency"]) or not _due(recurring, moment):
                continue
            fields = ("experiment_id", "pipeline_version_reference", "runtime_config", "service_account", "recurring_run_id")
            name = f"{recurring['display_name']}-{len(own) + 1}-{moment:%Y%m%d%H%M%S}"
            self._start_run({"display_name": name, **{field: recurring[field] for field in fields if field in recurring}})


def _due(recurring: Object, moment: datetime) -> bool:
    values = (moment.second, moment.minute, moment.hour, moment.day, moment.month, (moment.weekday() + 1) % 7)
    fields = recurring["trigger"]["cron_schedule"]["cron"].split()
    return all(_matches(field, value) for field, value in zip(fields, values, strict=True))


def _matches(field: str, value: int) -> bool:
    if field in {"*", "?"}:
        return True
    if field.startswith("*/"):
        return value % int(field[2:]) == 0
    return str(value) in field.split(",")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _checked(body: bytes, model: Any, *, required: tuple[str, ...]) -> Object:
    """The message, if it has no field that the real server's message does not have."""
    wanted = json.loads(body)
    if unknown := set(wanted) - set(model.attribute_map.values()):
        raise RefusedError(400, f"unknown field {sorted(unknown)} in {model.__name__}")
    if missing := [field for field in required if not wanted.get(field)]:
        raise RefusedError(400, f"{model.__name__} without {missing}")
    return wanted


def _uploaded(body: bytes, content_type: str) -> bytes:
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=HTTP)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == "uploadfile":
            return bytes(part.get_payload(decode=True))
    raise RefusedError(400, "there is no uploadfile")


def _handler(server: FakeKubeflow) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, value = 200, server.answer(self.command, self.path, body, self.headers.get("Content-Type", ""))
            except RefusedError as refused:
                status, value = refused.status, {"code": refused.status, "message": str(refused)}
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            """Says nothing: the requests are kept."""

    return Handler
