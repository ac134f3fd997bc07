"""`sightline step`: one step by itself, for schedulers that hand over addresses of artifacts; every place may be on S3."""

import contextlib
import difflib
import importlib
import inspect
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from sightline.cli.display import emit
from sightline.cli.launch import QUIET, absolute
from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.errors import UsageError
from sightline.store.artifact import write_file
from sightline.store.cache import fetch_artifact
from sightline.store.outcomes import read_outcomes
from sightline.store.steps import StepOutput, run_name

_PREEMPTED = 143


@dataclass(frozen=True)
class _Form:
    """Where a step's function is. Its parameters say what it takes: sections of the configuration by their names, options, else inputs."""

    module: str
    function: str = "run"
    optional: frozenset[str] = frozenset()

    def load(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        """The function and the names of its parameters; imports the step."""
        function: Callable[..., Any] = getattr(importlib.import_module(self.module), self.function)
        return function, tuple(inspect.signature(function).parameters)


_STEPS = {
    "ingest": _Form("sightline.ingest.step"),
    "tune": _Form("sightline.tune.step"),
    "train": _Form("sightline.train.step", optional=frozenset({"tuned"})),
    "gate": _Form("sightline.gate.step"),
    "compile": _Form("sightline.compile.step"),
    "deploy": _Form("sightline.deploy.step"),
    "monitor": _Form("sightline.monitor.step"),
    "reject": _Form("sightline.deploy.refuse"),
    "report": _Form("sightline.report.conclude", "conclude", optional=frozenset({"error"})),
}
_OPTIONS = ("stage", "served", "state", "error")


@dataclass(frozen=True)
class Request:
    """What the command line asked for.

    Attributes:
        name: the step.
        run_id: the run that this belongs to; empty: as the environment says.
        inputs: ``name=URI`` texts; a scheduler leaves the address of an optional input empty.
        options: stage, served, state, error; an empty one was not given.
        outputs: the folder for ``artifact``, ``outcome`` and ``headline``.
    """

    name: str
    run_id: str
    inputs: Sequence[str]
    options: Mapping[str, str]
    outputs: Path


@dataclass(frozen=True)
class Told:
    """What later steps need to know: the address of the committed artifact (may be empty), a closed word, one line for people."""

    artifact: str
    outcome: str
    headline: str


def step_command(request: Request, config: RunConfig, *, as_json: bool) -> int:
    """Runs the step and tells its outcome in ``request.outputs``; 0, because an outcome such as "fail" is a result and not an error.

    Raises:
        UsageError: there is no such step, or an input or option is missing or not known; all problems are listed.
        SightlineError: as the step raised it; nothing is told then.
        SystemExit: SIGTERM came (code 143); the step has cleaned up.
    """
    form = _form(request.name)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    function, taken = form.load()
    inputs = _inputs(request, form, taken, [name for name in taken if name not in _given(request, config, Path())])
    run_id = run_name(request.run_id)
    with _stopping_in_order(), tempfile.TemporaryDirectory(prefix="sightline-inputs-") as scratch:
        folder = Path(scratch)
        values = {**_given(request, config, folder), "run_id": run_id}
        values |= {name: str(fetch_artifact(uri, folder)) if uri else "" for name, uri in inputs.items()}
        told = _told(function(**{name: values[name] for name in taken}), values["store"], run_id)
    _tell(told, request.outputs)
    if as_json:
        emit(asdict(told))
    else:
        sys.stdout.write(f"{request.name}: {told.outcome} · {told.headline}\n{told.artifact}\n")
    return 0


def _form(name: str) -> _Form:
    if name not in _STEPS:
        near = difflib.get_close_matches(name, _STEPS, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no step '{name}'{hint}", remedy=f"use one of {', '.join(_STEPS)}")
    return _STEPS[name]


def _given(request: Request, config: RunConfig, scratch: Path) -> dict[str, Any]:
    """The value of every parameter that is not an input."""
    sections = {name: getattr(config, name) for name in type(config).model_fields}
    return {
        **sections,
        **{name: request.options.get(name, "") for name in _OPTIONS},
        "config": sections.get(request.name),
        "store": absolute(config.store),
        "run_id": request.run_id,
        "output": str(scratch / "output"),
        "page": "",
        "prices": config.cluster.prices,
    }


def _inputs(request: Request, form: _Form, taken: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """The address of each wanted input; empty for one that is left out. All problems of the command line at once."""
    pairs = [text.partition("=")[::2] for text in request.inputs]
    found = dict(pairs)
    problems = [f"--input {name}={uri}: expected NAME=URI" for name, uri in pairs if not name or not (uri or name in form.optional)]
    problems += [f"--input {name}: given twice" for name in found if [pair[0] for pair in pairs].count(name) > 1]
    problems += [_unknown(name, wanted) for name in found if name and name not in wanted]
    problems += [f"--input {name}=URI is missing" for name in wanted if name not in found and name not in form.optional]
    problems += _option_problems(request, form, taken)
    if problems:
        raise UsageError("\n  - ".join([f"sightline step {request.name}: {len(problems)} problem(s)", *problems]))
    return {name: found.get(name, "") for name in wanted}


def _unknown(name: str, wanted: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, wanted, n=1, cutoff=0.5)
    return f"--input {name}: not an input of this step" + (f", did you mean {near[0]}?" if near else "")


def _option_problems(request: Request, form: _Form, taken: Sequence[str]) -> list[str]:
    from sightline.evaluate.verdict import Stage

    options = {name: value for name, value in request.options.items() if value}
    problems = [f"--{name}: {request.name} does not take it" for name in options if name not in taken]
    problems += [f"--{name} is missing" for name in _OPTIONS if name in taken and name not in options and name not in form.optional]
    stage = options.get("stage", "trained")
    return problems + ([] if stage in get_args(Stage) else [f"--stage {stage}: expected {' or '.join(get_args(Stage))}"])


def _told(done: Any, store: StoreConfig, run_id: str) -> Told:
    if isinstance(done, StepOutput):
        return Told(done.uri, done.result.outcome, done.result.headline)
    if isinstance(done, str):
        reason = next((outcome.reason for outcome in read_outcomes(store, run_id) if outcome.kind == done), done)
        return Told("", done, reason)
    return Told(done.report, done.status, done.sentence)


def _tell(told: Told, outputs: Path) -> None:
    # The artifact comes last: who sees it sees the others.
    for name in ("headline", "outcome", "artifact"):
        write_file(outputs / name, getattr(told, name).encode())


@contextlib.contextmanager
def _stopping_in_order() -> Iterator[None]:
    """SIGTERM unwinds the main thread, so that a canary ends, servers stop and the record says why; another one does not disturb that."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(_PREEMPTED)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, previous)
