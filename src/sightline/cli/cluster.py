"""`sightline submit`, `schedule` and `runs`: their options; a process of its own, which may import the Kubeflow client, does the work."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.launch import repository

schedule_app = typer.Typer(help="Schedules that are declared in files and applied to Kubeflow.", no_args_is_help=True)
runs_app = typer.Typer(help="Runs on the cluster.", no_args_is_help=True)

Host = Annotated[str, typer.Option(help="Address of the Kubeflow Pipelines API; default: SIGHTLINE_KFP_HOST.")]
Namespace = Annotated[str, typer.Option(help="Namespace of the runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on standard output.")]
Folder = Annotated[Path, typer.Argument(help="Folder with one YAML file per schedule.")]
TimeZone = Annotated[str, typer.Option(help="The server's time zone for cron (its CRON_SCHEDULE_TIMEZONE).")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name or id of a run, see `sightline runs list`.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most; then exit code 75, and the run goes on.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the `sightline` command."""
    app.command(epilog="Example: sightline submit sightline.yaml --key release-7 --wait")(submit)
    app.add_typer(schedule_app, name="schedule")
    app.add_typer(runs_app, name="runs")


def submit(
    config: Annotated[Path, typer.Argument(help="A sightline.yaml whose places a cluster can reach (s3://…).")],
    *,
    pipeline: Annotated[str, typer.Option(help="retrain or monitor.")] = "retrain",
    key: Annotated[str, typer.Option(help="Idempotency key: the same key is the same run, however often it is submitted.")] = "",
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A pipeline parameter, e.g. gpus=1 or on_drift=retrain.")
    ] = None,
    service_account: Annotated[str, typer.Option(help="Account of the pods; '' takes the server's.")] = "sightline-run",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end: 0 promoted, 3 rejected, 4 drift, 5 rolled back.")] = False,
    timeout: Timeout = 86400.0,
    host: Host = "",
    namespace: Namespace = "sightline",
    as_json: AsJson = False,
) -> None:
    """Starts a pipeline on the cluster, and says under which address it can be watched."""
    options = [str(config.resolve()), "--pipeline", pipeline, f"--key={key}", f"--service-account={service_account}"]
    options += [f"--timeout={timeout}", *(["--wait"] if wait else [])]
    options += [f"--set={text}" for text in overrides or ()] + [f"--parameter={text}" for text in parameter or ()]
    _pipelines(["submit", *options], host=host, namespace=namespace, as_json=as_json)


@schedule_app.command("plan", epilog="Example: sightline schedule plan schedules")
def schedule_plan(
    folder: Folder = Path("schedules"),
    *,
    time_zone: TimeZone = "UTC",
    host: Host = "",
    namespace: Namespace = "sightline",
    as_json: AsJson = False,
) -> None:
    """Shows what apply would add, change or remove; exit code 4 when the server does not have what is declared."""
    options = [str(folder.resolve()), f"--time-zone={time_zone}"]
    _pipelines(["schedule", "plan", *options], host=host, namespace=namespace, as_json=as_json)


@schedule_app.command("apply", epilog="Example: sightline schedule apply schedules --prune")
def schedule_apply(
    folder: Folder = Path("schedules"),
    *,
    prune: Annotated[bool, typer.Option("--prune", help="Also delete schedules of ours that no file declares.")] = False,
    time_zone: TimeZone = "UTC",
    host: Host = "",
    namespace: Namespace = "sightline",
    as_json: AsJson = False,
) -> None:
    """Makes the server have what is declared; schedules that others made are never touched."""
    options = [str(folder.resolve()), f"--time-zone={time_zone}", *(["--prune"] if prune else [])]
    _pipelines(["schedule", "apply", *options], host=host, namespace=namespace, as_json=as_json)


@runs_app.command("list", epilog="Example: sightline runs list --limit 5")
def runs_list(
    *,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    host: Host = "",
    namespace: Namespace = "sightline",
    as_json: AsJson = False,
) -> None:
    """The newest runs: state, outcome, start, duration, name."""
    _pipelines(["runs", "list", f"--limit={limit}"], host=host, namespace=namespace, as_json=as_json)


@runs_app.command("logs", epilog="Example: sightline runs logs retrain-release-7 train")
def runs_logs(
    run: RunName,
    step: Annotated[str, typer.Argument(help="One step; without it, all.")] = "",
    *,
    host: Host = "",
    namespace: Namespace = "sightline",
    as_json: AsJson = False,
) -> None:
    """What the steps of a run said, and the logs of their pods where a kubeconfig is there."""
    _pipelines(["runs", "logs", run, *([step] if step else [])], host=host, namespace=namespace, as_json=as_json)


@runs_app.command("retry", epilog="Example: sightline runs retry retrain-release-7")
def runs_retry(run: RunName, *, host: Host = "", namespace: Namespace = "sightline", as_json: AsJson = False) -> None:
    """Runs what failed of a run again; finished steps are kept."""
    _pipelines(["runs", "retry", run], host=host, namespace=namespace, as_json=as_json)


@runs_app.command("stop", epilog="Example: sightline runs stop retrain-release-7")
def runs_stop(run: RunName, *, host: Host = "", namespace: Namespace = "sightline", as_json: AsJson = False) -> None:
    """Ends a run."""
    _pipelines(["runs", "stop", run], host=host, namespace=namespace, as_json=as_json)


@runs_app.command("wait", epilog="Example: sightline runs wait retrain-release-7 --timeout 3600")
def runs_wait(
    run: RunName, *, timeout: Timeout = 86400.0, host: Host = "", namespace: Namespace = "sightline", as_json: AsJson = False
) -> None:
    """Waits for the end of a run; the exit code says how it ended: 0 promoted, 3 rejected, 4 drift, 5 rolled back, 1 failed."""
    _pipelines(["runs", "wait", run, f"--timeout={timeout}"], host=host, namespace=namespace, as_json=as_json)


def _pipelines(command: Sequence[str], *, host: str, namespace: str, as_json: bool) -> None:
    """Runs `python -m pipelines` in the checkout with our standard streams; its exit code becomes ours."""
    common = [f"--host={host}", f"--namespace={namespace}", *(["--json"] if as_json else [])]
    done = subprocess.run([sys.executable, "-m", "pipelines", *command, *common], cwd=repository(), check=False)
    raise typer.Exit(done.returncode)
