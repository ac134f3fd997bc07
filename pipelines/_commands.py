"""The commands that talk to a cluster: submit, schedule plan and apply, runs list, logs, retry, stop and wait."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines import client, runs, schedules
from pipelines.compilation import PIPELINES
from sightline.cli.display import Display, emit
from sightline.config.load import load_config
from sightline.errors import UsageError
from sightline.store.records import StepRecord

_DAY_S = 24 * 3600.0
_DIFFERENT = 4


def add_to(commands: Any) -> None:
    """Adds the commands to the command line of `python -m pipelines`."""
    _add_submit(commands)
    schedule = commands.add_parser("schedule", help="schedules declared in files").add_subparsers(dest="action", required=True)
    for name, call in (("plan", plan_command), ("apply", apply_command)):
        one = _command(schedule, name, call)
        one.add_argument("folder", type=Path, nargs="?", default=Path("schedules"))
        one.add_argument("--time-zone", default="UTC", help="the server's CRON_SCHEDULE_TIMEZONE")
        if name == "apply":
            one.add_argument("--prune", action="store_true", help="also delete schedules of ours that no file declares")
    listed = commands.add_parser("runs", help="runs on the cluster").add_subparsers(dest="action", required=True)
    _command(listed, "list", list_command).add_argument("--limit", type=int, default=20)
    for name, call in (("logs", logs_command), ("retry", retry_command), ("stop", stop_command), ("wait", wait_command)):
        one = _command(listed, name, call)
        one.add_argument("run", help="name or id")
        if name == "logs":
            one.add_argument("step", nargs="?", default="")
        if name == "wait":
            one.add_argument("--timeout", type=float, default=_DAY_S)


def _command(commands: Any, name: str, call: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=(call.__doc__ or "").split(";")[0].rstrip("."))
    made.add_argument("--host", default="", help="address of the API server; default: SIGHTLINE_KFP_HOST")
    made.add_argument("--namespace", default="sightline", help="namespace of the runs")
    made.add_argument("--json", action="store_true", dest="as_json")
    made.set_defaults(call=call)
    return made


def _add_submit(commands: Any) -> None:
    one = _command(commands, "submit", submit_command)
    one.add_argument("config", type=Path, help="a sightline.yaml")
    one.add_argument("--pipeline", choices=PIPELINES, default="retrain")
    one.add_argument("--key", default="", help="idempotency key: the same key is the same run")
    one.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    one.add_argument("--parameter", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="a pipeline parameter")
    one.add_argument("--service-account", default=client.SERVICE_ACCOUNT, help="account of the pods; empty: the server's")
    one.add_argument("--wait", action="store_true", help="wait for the end; the exit code says how it ended")
    one.add_argument("--timeout", type=float, default=_DAY_S, help="seconds to wait at most")


def _server(options: argparse.Namespace) -> client.Server:
    return client.connect(options.host, namespace=options.namespace)


def submit_command(options: argparse.Namespace) -> int:
    """Starts a run on the cluster."""
    config = load_config(options.config, options.overrides)
    changes = _changes(options.parameters, options.pipeline)
    server = _server(options)
    made = client.submit(options.pipeline, config, options.key, server=server, changes=changes, service_account=options.service_account)
    if not options.wait:
        _say(options, dataclasses.asdict(made), f"{'already there: ' if made.existing else ''}{made.name}\n  {made.url}\n")
        return 0
    sys.stderr.write(f"{made.name}\n  {made.url}\n")
    return _follow(options, server, made.run_id)


def _changes(given: list[str], pipeline: str) -> dict[str, Any]:
    import yaml

    from pipelines._parameters import DEFAULT, parameters

    known, values = parameters(pipeline, DEFAULT), {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or name not in known:
            raise UsageError(f"--parameter {text}: expected NAME=VALUE with one of {', '.join(sorted(known))}")
        values[name] = value if isinstance(known[name], str) else yaml.safe_load(value)
    return values


def _follow(options: argparse.Namespace, server: client.Server, run_id: str) -> int:
    display = Display(sys.stderr)

    def show(step: StepRecord) -> None:
        failed = step.status == "failed"
        text = step.error.partition("\n")[0] if failed else ("cached · " if step.cached else "") + step.headline
        display.line(step.name, text, step.seconds, mark="✗" if failed else "✓")

    run = runs.wait(server, run_id, timeout_s=options.timeout, show=show)
    _say(options, _shown(run), f"{run.name}  {run.state}  {runs.outcome(run)}\n")
    return runs.exit_code(run)


def wait_command(options: argparse.Namespace) -> int:
    """Waits for the end of a run; the exit code says how it ended."""
    server = _server(options)
    return _follow(options, server, runs.find_run(server, options.run).run_id)


def list_command(options: argparse.Namespace) -> int:
    """Lists the newest runs."""
    found = runs.list_runs(_server(options), limit=options.limit)
    lines = [f"  {'state':<10} {'outcome':<12} {'started (UTC)':<20} {'took':>9}  name\n"] if found else ["no runs yet\n"]
    shown = [_shown(run) for run in found]  # reads the store, once per run
    for run, one in zip(found, shown, strict=True):
        started = run.started_at.strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"  {run.state:<10} {one['outcome'] or '-':<12} {started:<20} {run.seconds:>7.0f} s  {run.name}\n")
    _say(options, shown, "".join(lines))
    return 0


def logs_command(options: argparse.Namespace) -> int:
    """Shows what the steps of a run said, and the pods' logs where a kubeconfig is there."""
    run = runs.find_run(_server(options), options.run)
    found = [step for step in runs.steps(run) if options.step in step.name]
    pods = dict(runs.pod_logs(run, options.step, namespace=options.namespace)) if _has_cluster() else {}
    lines = [f"{step.name}: {step.status} {step.outcome} {step.headline}\n" + (f"{step.error}\n" if step.error else "") for step in found]
    lines += [f"--- {name}\n{log}\n" for name, log in pods.items()]
    _say(options, {"steps": [step.model_dump(mode="json") for step in found], "pods": pods}, "".join(lines) or "nothing yet\n")
    return 0


def _has_cluster() -> bool:
    return "KUBECONFIG" in os.environ or "KUBERNETES_SERVICE_HOST" in os.environ or (Path.home() / ".kube" / "config").is_file()


def retry_command(options: argparse.Namespace) -> int:
    """Runs the failed steps of a run again."""
    server = _server(options)
    run = runs.find_run(server, options.run)
    runs.retry(server, run)
    _say(options, _shown(run), f"{run.name} goes on\n  {run.url}\n")
    return 0


def stop_command(options: argparse.Namespace) -> int:
    """Ends a run."""
    server = _server(options)
    run = runs.find_run(server, options.run)
    runs.stop(server, run)
    _say(options, _shown(run), f"{run.name} is being stopped\n")
    return 0


def plan_command(options: argparse.Namespace) -> int:
    """Shows what `apply` would change; exit code 4 when there is anything."""
    declared = schedules.read_schedules(options.folder, time_zone=options.time_zone)
    changes = schedules.plan(declared, schedules.read_existing(_server(options)))
    _say(options, [_change(change) for change in changes], _described(changes) or "the server has what is declared\n")
    return _DIFFERENT if changes else 0


def apply_command(options: argparse.Namespace) -> int:
    """Makes the server have the declared schedules."""
    declared = schedules.read_schedules(options.folder, time_zone=options.time_zone)
    server = _server(options)
    changes = schedules.plan(declared, schedules.read_existing(server))
    done = schedules.apply(server, changes, prune=options.prune)
    kept = [change.name for change in changes if change not in done]
    if kept:
        sys.stderr.write(f"not declared and kept: {', '.join(kept)} (delete with --prune)\n")
    _say(options, [_change(change) for change in done], _described(done) or "nothing to do\n")
    return 0


def _described(changes: list[schedules.Change]) -> str:
    marks = {"add": "+", "change": "~", "remove": "-"}
    lines = []
    for change in changes:
        lines.append(f"{marks[change.kind]} {change.name}\n")
        lines += [f"    {key}: {json.dumps(old)} -> {json.dumps(new)}\n" for key, (old, new) in change.fields.items()]
        if change.kind == "add" and change.wanted:
            lines.append(f"    {change.wanted.schedule.pipeline}, {change.wanted.schedule.cron} {change.wanted.schedule.time_zone}\n")
    return "".join(lines)


def _change(change: schedules.Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "name": change.name,
        "fields": {key: {"old": old, "new": new} for key, (old, new) in change.fields.items()},
    }


def _shown(run: runs.Run) -> dict[str, Any]:
    fields = {key: getattr(run, key) for key in ("run_id", "name", "records", "state", "seconds", "url")}
    return {**fields, "started_at": run.started_at.isoformat(), "outcome": runs.outcome(run)}


def _say(options: argparse.Namespace, value: Any, text: str) -> None:
    if options.as_json:
        emit(value)
    else:
        sys.stdout.write(text)
