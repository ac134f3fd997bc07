"""Runs on the Argo server: start, list, logs, approve, stop, retry."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.argo.arguments import config_text, run_name
from pipelines.argo.flows import APPROVE, check_parameters, run_of
from pipelines.argo.models import plain, workflows
from pipelines.argo.server import Server, explained
from sightline.cli.launch import new_run_id
from sightline.config.run import RunConfig
from sightline.errors import UsageError

_FIELDS = ",".join(
    f"items.{path}"
    for path in (
        "metadata.name",
        "metadata.creationTimestamp",
        "metadata.labels",
        "status.phase",
        "status.message",
        "status.progress",
        "status.startedAt",
        "status.finishedAt",
    )
)


@dataclass(frozen=True)
class Run:
    """A run as the server knows it; times are RFC 3339, empty before they are known."""

    name: str
    pipeline: str
    phase: str
    progress: str = ""
    started_at: str = ""
    finished_at: str = ""
    message: str = ""


@dataclass(frozen=True)
class Submission:
    """A run, and whether this call started it: the second call with the same key finds the first one's run."""

    run: Run
    created: bool


def submit(
    server: Server, pipeline: str, *, key: str = "", config: RunConfig | None = None, parameters: Mapping[str, str] | None = None
) -> Submission:
    """Starts a run of a template, at most once per key.

    Args:
        server: where.
        pipeline: retrain or monitor.
        key: what the run is for; empty: a run of its own each time.
        config: the whole configuration; None: the template's.
        parameters: further parameters of the template (gpus, node_selector, approval, served, …).

    Raises:
        UsageError: the key already names a run with other parameters, a parameter is not known, or the template does not exist.
    """
    check_parameters(pipeline, parameters or {})
    name = run_name(pipeline, key) if key else f"sightline-{pipeline}-{new_run_id()}"
    values = {**({"config": config_text(config)} if config else {}), **(parameters or {})}
    body = run_of(pipeline, name=name, parameters=values, key=key)
    request = workflows.WorkflowCreateRequest(namespace=server.namespace, workflow=body)
    service = server.service("Workflow")
    with explained(f"start {name}", server, missing=f"the server has no template for {pipeline}; apply it first"):
        made = _unless_taken(lambda: service.create_workflow(server.namespace, request, **server.options))
    if made is not None:
        return Submission(_run(plain(made)), created=True)
    found = _get(server, name)
    _check_same(found, values, key)
    return Submission(_run(found), created=False)


def get(server: Server, name: str) -> Run:
    """One run.

    Raises:
        UsageError: there is no such run.
    """
    return _run(_get(server, name))


def list_runs(server: Server, *, pipeline: str = "", limit: int = 20) -> list[Run]:
    """The newest runs first."""
    selector = "sightline.dev/pipeline" + (f"={pipeline}" if pipeline else "")
    with explained("list runs", server):
        found = server.service("Workflow").list_workflows(
            server.namespace, list_options_label_selector=selector, fields=_FIELDS, **server.options
        )
    items = plain(found).get("items") or []
    newest = sorted(items, key=lambda item: str(item["metadata"].get("creationTimestamp", "")), reverse=True)
    return [_run(item) for item in newest[:limit]]


def stop(server: Server, name: str, *, why: str = "stopped by a person") -> Run:
    """Ends a run; its running step gets SIGTERM, and the report is still written (`argo terminate` would skip it)."""
    request = workflows.WorkflowStopRequest(name=name, namespace=server.namespace, message=why)
    return _change(server, name, "stop", request)


def retry(server: Server, name: str) -> Run:
    """Runs what failed of a run again, under the same name: steps that were done are not repeated."""
    return _change(server, name, "retry", workflows.WorkflowRetryRequest(name=name, namespace=server.namespace))


def approve(server: Server, name: str) -> Run:
    """Lets a run that waits for a person go on to the canary; the server records whose token it was."""
    request = workflows.WorkflowResumeRequest(name=name, namespace=server.namespace, node_field_selector=f"displayName={APPROVE}")
    return _change(server, name, "resume", request)


def logs(server: Server, name: str, *, step: str = "", follow: bool = False) -> Iterator[tuple[str, str]]:
    """Pod and text of each line of the steps' logs, as they come.

    Args:
        server: where.
        name: the run.
        step: only this step; empty: all.
        follow: until the run ends.
    """
    optional = {"selector": f"sightline.dev/step={step}"} if step else {}
    options = {**server.options, "_preload_content": False, **({"_request_timeout": None} if follow else {})}
    with explained(f"read the logs of {name}", server, missing=f"there is no run {name}"):
        answer = server.service("Workflow").workflow_logs(
            server.namespace, name, log_options_container="main", log_options_follow=follow, **optional, **options
        )
        try:
            yield from _lines(answer)
        finally:
            answer.release_conn()


def _lines(answer: Any) -> Iterator[tuple[str, str]]:
    pending = b""
    for chunk in answer.stream():
        *lines, pending = (pending + chunk).split(b"\n")
        yield from (_line(line) for line in lines if line.strip())
    if pending.strip():
        yield _line(pending)


def _line(line: bytes) -> tuple[str, str]:
    entry = json.loads(line)
    if "error" in entry:
        raise UsageError(f"the server stopped sending logs: {entry['error'].get('message', entry['error'])}")
    result = entry["result"]
    return str(result.get("podName", "")), str(result.get("content", ""))


def _change(server: Server, name: str, verb: str, request: Any) -> Run:
    with explained(f"{verb} {name}", server, missing=f"there is no run {name}"):
        changed = getattr(server.service("Workflow"), f"{verb}_workflow")(server.namespace, name, request, **server.options)
    return _run(plain(changed))


def _get(server: Server, name: str) -> dict[str, Any]:
    with explained(f"read {name}", server, missing=f"there is no run {name}"):
        return plain(server.service("Workflow").get_workflow(server.namespace, name, **server.options))


def _unless_taken(create: Any) -> Any:
    """What was created; None when the name is taken."""
    from argo_workflows.exceptions import ApiException

    try:
        return create()
    except ApiException as error:
        if error.status == 409:
            return None
        raise


def _check_same(found: Mapping[str, Any], values: Mapping[str, str], key: str) -> None:
    given = found["spec"].get("arguments", {}).get("parameters") or []
    there = {parameter["name"]: parameter.get("value", "") for parameter in given}
    other = sorted(name for name in {*values, *there} if values.get(name) != there.get(name))
    if other:
        raise UsageError(
            f"the key '{key}' already names the run {found['metadata']['name']}, which has other values of {', '.join(other)}",
            remedy="use another key for another run",
        )


def _run(body: Mapping[str, Any]) -> Run:
    status = body.get("status") or {}
    metadata = body["metadata"]
    return Run(
        name=metadata["name"],
        pipeline=(metadata.get("labels") or {}).get("sightline.dev/pipeline", ""),
        phase=status.get("phase") or "Pending",
        progress=status.get("progress") or "",
        started_at=str(status.get("startedAt") or ""),
        finished_at=str(status.get("finishedAt") or ""),
        message=status.get("message") or "",
    )
