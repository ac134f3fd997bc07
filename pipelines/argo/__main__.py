"""`python -m pipelines.argo`: the pipelines on plain Argo Workflows (3.7 or newer)."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sightline.config.run import RunConfig
from sightline.errors import SightlineError, UsageError

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code is that of the error, if there is one."""
    options = _parser().parse_args(arguments)
    try:
        command: Command = options.command
        return command(options)
    except SightlineError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.argo", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    compiling = _command(commands, _compile, "compile", "write the YAML files for kubectl or a GitOps controller")
    compiling.add_argument("--output", type=Path, help="folder; default: pipelines/compiled/argo")
    _command(commands, _config, "config", "print a sightline.yaml as the text of the parameter `config`").add_argument("file", type=Path)
    applying = _command(commands, _apply, "apply", "create or change templates and schedules on the server")
    applying.add_argument("--config", type=Path, help="a sightline.yaml that runs start with when they are given nothing else")
    applying.add_argument("--events", action="store_true", help="the drift trigger too; needs Argo Events")
    submitting = _command(commands, _submit, "submit", "start a run")
    submitting.add_argument("pipeline", choices=("retrain", "monitor"))
    submitting.add_argument("--config", type=Path, help="a sightline.yaml; default: the template's")
    submitting.add_argument("--key", default="", help="what the run is for: the same key never starts a second run")
    submitting.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="e.g. gpus=1, approval=required")
    listing = _command(commands, _list, "list", "the newest runs")
    listing.add_argument("--pipeline", choices=("retrain", "monitor"), default="")
    listing.add_argument("--limit", type=int, default=20)
    reading = _command(commands, _logs, "logs", "what the steps of a run wrote", named=True)
    reading.add_argument("--step", default="", help="one step only")
    reading.add_argument("--follow", action="store_true", help="until the run ends")
    stopping = _command(commands, _change, "stop", "end a run; its report is still written", named=True)
    stopping.add_argument("--why", default="stopped by a person")
    _command(commands, _change, "retry", "run again what failed of a run", named=True)
    _command(commands, _change, "approve", "let a run that waits for a person go on", named=True)
    return parser


def _command(commands: Any, command: Command, name: str, text: str, *, named: bool = False) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command, verb=name)
    parser.add_argument("--host", default="", help="address of the Argo server; default: SIGHTLINE_ARGO_HOST; the token is ARGO_TOKEN")
    parser.add_argument("--namespace", default="sightline", help="default: sightline")
    parser.add_argument("--json", action="store_true", help="machine-readable result on standard output")
    if named:
        parser.add_argument("name", help="the run")
    return parser


def _compile(options: argparse.Namespace) -> int:
    from pipelines.argo.compiled import FOLDER, write

    paths = [str(path) for path in write(options.output or FOLDER)]
    return _say(options, paths, "\n".join(paths))


def _config(options: argparse.Namespace) -> int:
    from pipelines.argo.arguments import config_text

    text = config_text(_configuration(options.file))
    return _say(options, {"config": text}, text)


def _apply(options: argparse.Namespace) -> int:
    from pipelines._parameters import DEFAULT
    from pipelines.argo.apply import apply
    from pipelines.argo.compiled import documents
    from pipelines.argo.server import connect

    files = documents(_configuration(options.config) if options.config else DEFAULT)
    wanted = [document for name, objects in files.items() if name != "drift" or options.events for document in objects]
    with connect(options.host, options.namespace) as server:
        changes = apply(server, wanted)
    return _say(options, changes, "\n".join(f"{change:<10} {name}" for name, change in changes.items()))


def _submit(options: argparse.Namespace) -> int:
    from pipelines.argo.runs import submit
    from pipelines.argo.server import connect

    config = _configuration(options.config) if options.config else None
    with connect(options.host, options.namespace) as server:
        done = submit(server, options.pipeline, key=options.key, config=config, parameters=_pairs(options.parameter))
    told = "started" if done.created else "this key started it before:"
    return _say(options, dataclasses.asdict(done), f"{told} {done.run.name}")


def _list(options: argparse.Namespace) -> int:
    from pipelines.argo.runs import list_runs
    from pipelines.argo.server import connect

    with connect(options.host, options.namespace) as server:
        runs = list_runs(server, pipeline=options.pipeline, limit=options.limit)
    lines = [f"{run.name:<44} {run.phase:<10} {run.progress:<7} {run.started_at:<21} {run.message}".rstrip() for run in runs]
    return _say(options, [dataclasses.asdict(run) for run in runs], "\n".join(lines) or "no runs")


def _logs(options: argparse.Namespace) -> int:
    from pipelines.argo.runs import logs
    from pipelines.argo.server import connect

    with connect(options.host, options.namespace) as server:
        for pod, text in logs(server, options.name, step=options.step, follow=options.follow):
            _say(options, {"pod": pod, "text": text}, f"{pod}: {text}", indent=None)
    return 0


def _change(options: argparse.Namespace) -> int:
    from pipelines.argo import runs
    from pipelines.argo.server import connect

    with connect(options.host, options.namespace) as server:
        more = {"why": options.why} if options.verb == "stop" else {}
        run = getattr(runs, options.verb)(server, options.name, **more)
    return _say(options, dataclasses.asdict(run), f"{run.name}: {run.phase}")


def _configuration(path: Path) -> RunConfig:
    from pipelines._parameters import for_cluster
    from sightline.config.load import load_config

    return for_cluster(load_config(path, ()))


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (name, equals, _) in zip(texts, pairs, strict=True) if not (name and equals)]:
        raise UsageError(f"--parameter {', '.join(wrong)}: expected NAME=VALUE", remedy="e.g. --parameter gpus=1")
    return {name: value for name, _, value in pairs}


def _say(options: argparse.Namespace, value: Any, text: str, *, indent: int | None = 2) -> int:
    sys.stdout.write((json.dumps(value, indent=indent) if options.json else text) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
