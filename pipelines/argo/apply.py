"""Templates, schedules and the drift trigger on the server: created where they are not, changed where they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.argo.models import core, plain
from pipelines.argo.server import Server, explained

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class _Kind:
    """How the generated client names one kind: the service, the word in its methods, the field and the classes of its requests."""

    service: str
    word: str
    field: str
    create: str
    update: str


_WORKFLOWS = "IoArgoprojWorkflowV1alpha1"
_KINDS = {
    "WorkflowTemplate": _Kind(
        "WorkflowTemplate",
        "workflow_template",
        "template",
        f"{_WORKFLOWS}WorkflowTemplateCreateRequest",
        f"{_WORKFLOWS}WorkflowTemplateUpdateRequest",
    ),
    "CronWorkflow": _Kind(
        "CronWorkflow", "cron_workflow", "cron_workflow", f"{_WORKFLOWS}CreateCronWorkflowRequest", f"{_WORKFLOWS}UpdateCronWorkflowRequest"
    ),
    "EventSource": _Kind(
        "EventSource", "event_source", "event_source", "EventsourceCreateEventSourceRequest", "EventsourceUpdateEventSourceRequest"
    ),
    "Sensor": _Kind("Sensor", "sensor", "sensor", "SensorCreateSensorRequest", "SensorUpdateSensorRequest"),
}


def apply(server: Server, documents: Sequence[Mapping[str, Any]]) -> dict[str, Change]:
    """What was done to each object, by ``Kind/name``.

    A schedule that somebody suspended stays suspended, and what others wrote into labels, annotations and status stays as it is.

    Raises:
        UsageError: the server refused an object.
        TemporaryError: somebody else changed an object at the same moment.
    """
    return {f"{document['kind']}/{document['metadata']['name']}": _apply_one(server, document) for document in documents}


def remove(server: Server, kind: str, name: str) -> None:
    """Deletes an object.

    Raises:
        UsageError: there is none.
    """
    how = _KINDS[kind]
    with explained(f"delete {kind} {name}", server, missing=f"there is no {kind} {name}"):
        getattr(server.service(how.service), f"delete_{how.word}")(server.namespace, name, **server.options)


def read(server: Server, kind: str, name: str) -> dict[str, Any] | None:
    """An object as the server has it; None when there is none."""
    from argo_workflows.exceptions import ApiException

    how = _KINDS[kind]
    with explained(f"read {kind} {name}", server):
        try:
            return plain(getattr(server.service(how.service), f"get_{how.word}")(server.namespace, name, **server.options))
        except ApiException as error:
            if error.status == 404:
                return None
            raise


def _apply_one(server: Server, document: Mapping[str, Any]) -> Change:
    kind, name = document["kind"], document["metadata"]["name"]
    there = read(server, kind, name)
    merged = _merged(there, document) if there else {**document, "metadata": {**document["metadata"], "namespace": server.namespace}}
    if there and _without_empty(merged) == _without_empty(there):
        return "unchanged"
    verb, place = ("update", (server.namespace, name)) if there else ("create", (server.namespace,))
    with explained(f"{verb} {kind} {name}", server, missing=f"the server does not know {kind}"):
        call = getattr(server.service(_KINDS[kind].service), f"{verb}_{_KINDS[kind].word}")
        call(*place, _request(verb, kind, {"namespace": server.namespace, **({"name": name} if there else {})}, merged), **server.options)
    return "updated" if there else "created"


def _request(verb: str, kind: str, place: Mapping[str, str], body: Mapping[str, Any]) -> Any:
    how = _KINDS[kind]
    make = getattr(core, how.create if verb == "create" else how.update)
    # The body was checked when it was made. Here it stays a dict: a model would lose what a newer server wrote into the object.
    return make(**place, **{how.field: body}, _check_type=False)


def _merged(there: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(there["metadata"])
    for field in ("labels", "annotations"):
        if field in document["metadata"]:
            metadata[field] = {**(metadata.get(field) or {}), **document["metadata"][field]}
    suspended = {"suspend": True} if there["spec"].get("suspend") else {}
    return {**there, "metadata": metadata, "spec": {**document["spec"], **suspended}}


def _without_empty(value: Any) -> Any:
    """The value without empty objects, lists and texts, which servers add and leave out as they like."""
    if isinstance(value, Mapping):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [], "", None)}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
