"""Runs a WorkflowTemplate of ours on this machine: an interpreter of the part of Argo that the templates use, not Argo.

It knows: one DAG of container and suspend templates, `depends`, `when`, input and output parameters with defaults, the retry expression
on exit codes, `onExit`, and the way Argo replaces variables (in the template as JSON text, first the workflow's, then the inputs', then
once more in the pod, so that a value may be replaced a second time). Each container runs as a process with the container's own command,
arguments and environment; /scratch is a new folder for each attempt. It does not know: scheduling, images, deadlines, back-off, the lock,
service accounts, anything else. What it shows is that branches, parameters and exit codes fit together; that Argo accepts the YAML is for
tests/e2e.
"""

import ast
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_GO_ESCAPES = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_DONE = {"Succeeded", "Skipped", "Omitted"}


class TemplateError(Exception):
    """What Argo would end the workflow with."""


@dataclass
class Attempt:
    """One pod."""

    argv: list[str]
    environment: dict[str, str]
    patch: dict[str, Any]
    exit_code: int
    output: str


@dataclass
class Node:
    """A task of the DAG, or the exit handler."""

    phase: str
    outputs: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    message: str = ""


@dataclass
class Interpreter:
    """One run.

    Attributes:
        template: the WorkflowTemplate.
        name: the workflow's name.
        folder: where the pods' scratch folders are.
        path: the folder with the ``sightline`` command.
        arguments: the workflow's parameters that differ from the template's.
        config_map: the environment that the pods' ConfigMap holds.
        resume: asked at a suspend node; False: a person stops the run there.
    """

    template: Mapping[str, Any]
    name: str
    folder: Path
    path: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    config_map: Mapping[str, str] = field(default_factory=dict)
    resume: Callable[[], bool] = lambda: False
    nodes: dict[str, Node] = field(default_factory=dict)
    phase: str = "Running"
    stopped: bool = False
    _process: subprocess.Popen[str] | None = None

    def run(self) -> str:
        """Runs the entry point and the exit handler; the workflow's last phase."""
        spec = self.template["spec"]
        self._templates = {template["name"]: template for template in spec["templates"]}
        self._globals = {"workflow.name": self.name}
        for parameter in spec["arguments"]["parameters"]:
            self._globals[f"workflow.parameters.{parameter['name']}"] = self.arguments.get(parameter["name"], parameter["value"])
        tasks = self._templates[spec["entrypoint"]]["dag"]["tasks"]
        while (waiting := [task for task in tasks if task["name"] not in self.nodes]) and not self.stopped:
            task = next(task for task in waiting if all(name in self.nodes for name in _tasks_in(task.get("depends", ""))))
            self.nodes[task["name"]] = self._task(task)
        failed = {name: node for name, node in self.nodes.items() if node.phase not in _DONE}
        self.phase = "Failed" if failed or self.stopped else "Succeeded"
        if "onExit" in spec:
            self._at_the_end(self._templates[spec["onExit"]], failed)
        return self.phase

    def stop(self) -> None:
        """Ends the running step with SIGTERM; the exit handler still runs."""
        self.stopped = True
        if self._process:
            self._process.terminate()

    def ran(self) -> list[str]:
        """Names of the nodes that had a pod or waited for a person, in order."""
        return [name for name, node in self.nodes.items() if node.phase not in {"Skipped", "Omitted"}]

    def _at_the_end(self, template: Mapping[str, Any], failed: Mapping[str, Node]) -> None:
        said = [{"displayName": name, "message": node.message, "phase": node.phase} for name, node in failed.items()]
        # A list without elements is Go's null; the text is quoted once more than the substitution needs.
        self._globals["workflow.status"] = self.phase
        self._globals["workflow.failures"] = f'"{go_quoted(json.dumps(said or None, separators=(",", ":")))}"'
        self.nodes["onExit"] = self._container(template, {})
        if self.nodes["onExit"].phase != "Succeeded":
            self.phase = "Failed"

    def _task(self, task: Mapping[str, Any]) -> Node:
        template = self._templates[task["template"]]
        defaults = self._defaults(template)
        if task.get("depends") and not self._depends(task["depends"]):
            return Node("Omitted", defaults)
        scope = {**self._globals, **self._outputs()}
        if task.get("when") and not evaluate(replaced(task["when"], scope, strict=True), {}):
            return Node("Skipped", defaults)
        if "suspend" in template:
            return Node("Succeeded") if self.resume() else Node("Failed", message="stopped by a person")
        given = task.get("arguments", {}).get("parameters", [])
        return self._container(template, {one["name"]: replaced(one["value"], scope, strict=True) for one in given})

    def _depends(self, expression: str) -> bool:
        phases = {name.replace("-", "_"): node.phase for name, node in self.nodes.items()}
        return bool(evaluate(expression.replace("-", "_"), {name: _Results(phase) for name, phase in phases.items()}))

    def _outputs(self) -> dict[str, str]:
        outputs = ((name, node.outputs) for name, node in self.nodes.items())
        return {f"tasks.{name}.outputs.parameters.{key}": value for name, values in outputs for key, value in values.items()}

    def _defaults(self, template: Mapping[str, Any]) -> dict[str, str]:
        declared = template.get("outputs", {}).get("parameters", [])
        return {one["name"]: one["valueFrom"]["default"] for one in declared if "default" in one["valueFrom"]}

    def _container(self, template: Mapping[str, Any], inputs: Mapping[str, str]) -> Node:
        wanted = {one["name"] for one in template.get("inputs", {}).get("parameters", [])}
        if wanted != set(inputs):
            raise TemplateError(f"{template['name']}: wants inputs {sorted(wanted)}, was given {sorted(inputs)}")
        once = replaced(template, self._globals)
        twice = replaced(once, {**self._globals, **{f"inputs.parameters.{name}": value for name, value in inputs.items()}})
        pod = replaced(twice, self._globals)
        strategy = pod["retryStrategy"]
        node = Node("Pending")
        while True:
            attempt, node.outputs = self._attempt(pod)
            node.attempts.append(attempt)
            node.phase = "Failed" if attempt.exit_code else "Succeeded"
            node.message = f"Error (exit code {attempt.exit_code})" if attempt.exit_code else ""
            last = {"lastRetry": _LastRetry(node.phase, str(attempt.exit_code))}
            if (
                node.phase == "Succeeded"
                or self.stopped
                or len(node.attempts) > int(strategy["limit"])
                or not evaluate(strategy["expression"], last)
            ):
                return node

    def _attempt(self, pod: Mapping[str, Any]) -> tuple[Attempt, dict[str, str]]:
        scratch = self.folder / f"pod-{sum(len(node.attempts) for node in self.nodes.values())}-{os.urandom(4).hex()}"
        scratch.mkdir(parents=True)
        container = pod["container"]

        def mounted(text: str) -> str:
            return re.sub(r"^/scratch(?=/|$)", str(scratch), text)

        environment = {
            "PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}",
            **self.config_map,
            **{one["name"]: mounted(one["value"]) for one in container["env"]},
        }
        argv = [mounted(word) for word in (*container["command"], *container["args"])]
        # Without a shell, as a container runtime does it.
        done = subprocess.run(
            [str(self.path / argv[0]), *argv[1:]], env=environment, cwd=scratch, capture_output=True, text=True, check=False
        )
        attempt = Attempt(argv, environment, json.loads(pod["podSpecPatch"]), done.returncode, done.stdout + done.stderr)
        declared = pod["outputs"]["parameters"] if not done.returncode else []
        outputs = {one["name"]: _read(Path(mounted(one["valueFrom"]["path"])), one["valueFrom"]) for one in declared}
        shutil.rmtree(scratch)
        return attempt, outputs


@dataclass(frozen=True)
class _LastRetry:
    status: str
    exitCode: str


@dataclass(frozen=True)
class _Results:
    phase: str

    def __getattr__(self, name: str) -> bool:
        return self.phase == name


def _read(path: Path, source: Mapping[str, Any]) -> str:
    if path.exists():
        return path.read_text().rstrip("\n")
    if "default" not in source:
        raise TemplateError(f"{source['path']} does not exist and has no default")
    return str(source["default"])


def _tasks_in(expression: str) -> list[str]:
    return re.findall(r"([a-z0-9-]+)\.[A-Z]", expression)


def go_quoted(text: str) -> str:
    """The text as Go's strconv.Quote writes it, without the quotes around it; not every such text is JSON."""
    return "".join(_go_character(character) for character in text)


def _go_character(character: str) -> str:
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def replaced(value: Any, variables: Mapping[str, str], *, strict: bool = False) -> Any:
    """The value with each ``{{name}}`` replaced once; names that are not known stay, unless ``strict``.

    Raises:
        TemplateError: a task's output is not known, or the text that comes out is not JSON.
    """

    def one(tag: re.Match[str]) -> str:
        name = tag[1].strip()
        if name.startswith("="):
            return go_quoted(_chosen(name[1:], variables))
        if name in variables:
            return go_quoted(variables[name])
        if strict:
            raise TemplateError(f"failed to resolve {tag[0]}")
        return tag[0]

    try:
        return json.loads(re.sub(r"\{\{(.*?)\}\}", one, json.dumps(value, ensure_ascii=False)))
    except json.JSONDecodeError as error:
        raise TemplateError(f"cannot finish template replacement because the result was invalid JSON: {error}") from error


def _chosen(expression: str, variables: Mapping[str, str]) -> str:
    """`name == 'word' ? 'this' : 'that'`, the only kind of expression tag that the templates have."""
    match = re.fullmatch(r"([a-z._]+) == '(\w+)' \? '(\w+)' : '(\w+)'", expression)
    if not match or match[1] not in variables:
        raise TemplateError(f"not part of the subset: {expression}")
    return match[3] if variables[match[1]] == match[2] else match[4]


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """The value of an expression of ours: and, or, not, ==, !=, in, asInt, texts, numbers, lists, attributes.

    Raises:
        TemplateError: anything else.
    """
    text = re.sub(r"!(?!=)", " not ", expression.replace("&&", " and ").replace("||", " or ")).strip()
    try:
        return _value(ast.parse(text, mode="eval").body, names)
    except SyntaxError as error:
        raise TemplateError(f"not an expression: {expression}") from error


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.List(elts=elements):
            return [_value(element, names) for element in elements]
        case ast.Attribute(value=owner, attr=name):
            return getattr(_value(owner, names), name)
        case ast.Call(func=ast.Name(id="asInt"), args=[argument]):
            return int(_value(argument, names))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, names)
        case ast.BoolOp(op=operator, values=values):
            return (all if isinstance(operator, ast.And) else any)(_value(value, names) for value in values)
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _compared(_value(left, names), operator, _value(right, names))
    raise TemplateError(f"not part of the subset: {ast.unparse(node)}")


def _compared(left: Any, operator: ast.cmpop, right: Any) -> bool:
    if isinstance(operator, ast.In):
        return left in right
    if isinstance(operator, ast.Eq | ast.NotEq):
        return (left == right) == isinstance(operator, ast.Eq)
    raise TemplateError(f"not part of the subset: {type(operator).__name__}")
