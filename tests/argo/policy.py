"""What each WorkflowTemplate of ours must have; each rule says what is wrong and where."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.argo.steps import RETRY_EXIT_CODES, STEPS

Document = Mapping[str, Any]
Rule = Callable[[Document], Iterator[str]]

_IMAGE = re.compile(r"^[a-z0-9.:-]+/[a-z0-9./-]+(:(c-[0-9a-f]{16}|\d+\.\d+\.\d+)|@sha256:[0-9a-f]{64})$")
_WORD = re.compile(r"'\{\{tasks\.([a-z-]+)\.outputs\.parameters\.outcome\}\}' [!=]= '([^']*)'")
_OUTPUT = re.compile(r"\{\{tasks\.([a-z-]+)\.outputs\.parameters\.([a-z_]+)\}\}")
_VARIABLE = re.compile(r"\{\{([^}]*)\}\}")
_GLOBALS = {"workflow.name", "workflow.status", "workflow.failures"}


def problems(document: Document) -> list[str]:
    """Everything that is wrong with it."""
    return [problem for rule in RULES for problem in rule(document)]


def _pods(document: Document) -> Iterator[Mapping[str, Any]]:
    return (template for template in document["spec"]["templates"] if "container" in template)


def _tasks(document: Document) -> dict[str, Mapping[str, Any]]:
    return {task["name"]: task for template in document["spec"]["templates"] for task in template.get("dag", {}).get("tasks", [])}


def immovable_images(document: Document) -> Iterator[str]:
    for template in _pods(document):
        if not _IMAGE.match(template["container"]["image"]):
            yield f"{template['name']}: {template['container']['image']} may be another image tomorrow"


def bounded_resources(document: Document) -> Iterator[str]:
    for template in _pods(document):
        resources = template["container"].get("resources", {})
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        if not requests.get("cpu") or not requests.get("memory") or limits.get("memory") != requests["memory"]:
            yield f"{template['name']}: needs CPU, and memory as request and limit"
        if any(not volume["emptyDir"].get("sizeLimit") for volume in template["volumes"] if "emptyDir" in volume):
            yield f"{template['name']}: a scratch volume without a size limit"


def restricted_pods(document: Document) -> Iterator[str]:
    for template in _pods(document):
        pod, container = template.get("securityContext", {}), template["container"].get("securityContext", {})
        held = [
            pod.get("runAsNonRoot") is True,
            pod.get("runAsUser") == 65532,
            pod.get("seccompProfile") == {"type": "RuntimeDefault"},
            container.get("readOnlyRootFilesystem") is True,
            container.get("allowPrivilegeEscalation") is False,
            container.get("capabilities") == {"drop": ["ALL"]},
        ]
        if not all(held):
            yield f"{template['name']}: not what the restricted Pod Security Standard asks for"


def own_accounts(document: Document) -> Iterator[str]:
    spec = document["spec"]
    if spec.get("automountServiceAccountToken") is not False or not spec.get("executor", {}).get("serviceAccountName"):
        yield "the workflow: pods get a token that they do not need"
    for template in _pods(document):
        step = STEPS[template["name"]]
        if template.get("serviceAccountName") != step.service_account:
            yield f"{template['name']}: not its own account"
        if template.get("automountServiceAccountToken") is not step.calls_kubernetes:
            yield f"{template['name']}: a token, and no use for it"


def deadlines(document: Document) -> Iterator[str]:
    if not document["spec"].get("activeDeadlineSeconds"):
        yield "the workflow: may run for ever"
    for template in _pods(document):
        if not int(template.get("activeDeadlineSeconds", 0)):
            yield f"{template['name']}: may run for ever"


def retries_by_exit_code(document: Document) -> Iterator[str]:
    for template in _pods(document):
        strategy = template.get("retryStrategy", {})
        codes = re.search(r"asInt\(lastRetry\.exitCode\) in \[([\d, ]+)\]", strategy.get("expression", ""))
        if not codes or [int(code) for code in codes[1].split(",")] != list(RETRY_EXIT_CODES) or "'Error'" not in strategy["expression"]:
            yield f"{template['name']}: retries something else than what may pass"
        if "maxDuration" in strategy.get("backoff", {"maxDuration": ""}):
            yield f"{template['name']}: no back-off, or one that stops the work itself"


def closed_words(document: Document) -> Iterator[str]:
    tasks = _tasks(document)
    for name, task in tasks.items():
        for producer, word in _WORD.findall(task.get("when", "")):
            if word not in STEPS[tasks[producer]["template"]].outcomes:
                yield f"{name}: {producer} never ends with '{word}'"
        if len(_WORD.findall(task.get("when", ""))) != len(_OUTPUT.findall(task.get("when", ""))):
            yield f"{name}: branches on something that is not a word of a step"


def ancestors_only(document: Document) -> Iterator[str]:
    tasks, templates = _tasks(document), {template["name"]: template for template in document["spec"]["templates"]}
    for name, task in tasks.items():
        before = _before(name, tasks)
        for producer, output in _OUTPUT.findall(str(task)):
            if producer not in before:
                yield f"{name}: reads {producer}, which need not have ended before it"
                continue
            declared = templates[tasks[producer]["template"]].get("outputs", {}).get("parameters", [])
            if not any(one["name"] == output and "default" in one["valueFrom"] for one in declared):
                yield f"{name}: {producer} has no output {output} with a default"


def known_variables(document: Document) -> Iterator[str]:
    parameters = {f"workflow.parameters.{one['name']}" for one in document["spec"]["arguments"]["parameters"]}
    for template in _pods(document):
        inputs = {f"inputs.parameters.{one['name']}" for one in template["inputs"]["parameters"]}
        unknown = {name for name in _VARIABLE.findall(str(template)) if not name.startswith("=")} - parameters - inputs - _GLOBALS
        if unknown:
            yield f"{template['name']}: nobody fills in {', '.join(sorted(unknown))}"


def _before(name: str, tasks: Mapping[str, Mapping[str, Any]]) -> set[str]:
    direct = set(re.findall(r"([a-z-]+)\.[A-Z]", tasks[name].get("depends", "")))
    return direct.union(*(_before(task, tasks) for task in direct))


RULES: tuple[Rule, ...] = (
    immovable_images,
    bounded_resources,
    restricted_pods,
    own_accounts,
    deadlines,
    retries_by_exit_code,
    closed_words,
    ancestors_only,
    known_variables,
)
