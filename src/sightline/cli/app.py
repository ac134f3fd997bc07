"""The commands and their options; the work is elsewhere."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sightline import __version__
from sightline.cli import cluster
from sightline.cli.display import emit
from sightline.cli.gate import gate_app
from sightline.cli.options import AsJson, ConfigFile, Overrides, Registry, Who, Why, Workspace
from sightline.errors import UsageError

app = typer.Typer(
    name="sightline",
    help="Retrains vision models on a schedule and never ships a worse one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    epilog="Exit codes: 0 ok, 2 usage, 3 the gate says no, 4 drift, 5 rolled back, 65 bad data, 75 try again. --debug shows tracebacks.",
)
data_app = typer.Typer(help="Looks at images before anything is trained.", no_args_is_help=True)
config_app = typer.Typer(help="Shows the configuration.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(gate_app, name="gate")
app.add_typer(config_app, name="config")


@app.callback(invoke_without_command=True)
def root(*, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    """Retrains vision models on a schedule and never ships a worse one."""
    if version:
        sys.stdout.write(f"sightline {__version__}\n")
        raise typer.Exit


@app.command(epilog="Example: sightline demo --scenario bad-model")
def demo(
    *,
    scenario: Annotated[str, typer.Option(help="ok, bad-model or bad-canary.")] = "ok",
    workspace: Workspace = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Runs the whole loop on generated images: first model, drift, retraining, canary. Two minutes on two cores, no network."""
    from sightline.cli import demo as command

    raise typer.Exit(command.demo(scenario, workspace=workspace, as_json=as_json))


@app.command(epilog="Example: sightline run sightline.yaml --set train.epochs=20")
def run(config: ConfigFile, *, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Runs the retrain pipeline on your own images: ingest, tune, train, gate, compile, gate, canary."""
    from sightline.cli import run as command
    from sightline.config.load import load_config

    raise typer.Exit(command.run(load_config(config, overrides or ()), as_json=as_json))


@app.command(
    epilog="Example: sightline step train --run-id r1 --input dataset=s3://bucket/cache/ingest/KEY --config sightline.yaml --outputs out"
)
def step(
    name: Annotated[str, typer.Argument(help="ingest, tune, train, gate, compile, deploy, monitor, reject or report.")],
    *,
    outputs: Annotated[Path, typer.Option(help="Folder for three files: artifact (its address), outcome (a word), headline.")],
    run_id: Annotated[str, typer.Option(help="The run that this belongs to; default: SIGHTLINE_RUN_ID.")] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=URI", help="A committed artifact, a folder or s3://…; may be given several times."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A sightline.yaml.")] = None,
    config_text: Annotated[str, typer.Option(help="The configuration itself as YAML, whole or in part, instead of --config.")] = "",
    stage: Annotated[str, typer.Option(help="gate: trained or compiled.")] = "",
    served: Annotated[str, typer.Option(help="monitor: the served log, a folder or s3://….")] = "",
    state: Annotated[str, typer.Option(help="report: how the workflow ended, e.g. Succeeded, Failed or Error.")] = "",
    error: Annotated[str, typer.Option(help="report: what the scheduler says about a failure.")] = "",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Runs one step by itself, as a scheduler does; its outcome goes into files and is never an exit code of its own."""
    from sightline.cli import step as command
    from sightline.config.load import load_config, parse_config

    if config and config_text:
        raise typer.BadParameter("give --config or --config-text, not both")
    changes = overrides or ()
    loaded = parse_config(config_text, changes, origin="--config-text") if config_text else load_config(config, changes)
    options = {"stage": stage, "served": served, "state": state, "error": error}
    request = command.Request(name=name, run_id=run_id, inputs=tuple(inputs or ()), options=options, outputs=outputs)
    raise typer.Exit(command.step_command(request, loaded, as_json=as_json))


@app.command(epilog="Example: sightline init --data ./images > sightline.yaml")
def init(data: Annotated[Path, typer.Option(help="Folder with one sub-folder of images per class.")]) -> None:
    """Looks at a folder of images and prints a configuration for it."""
    from sightline.cli import data as command

    sys.stdout.write(command.initial_config(data))


@data_app.command(epilog="Example: sightline data check ./images --json")
def check(
    source: Annotated[str, typer.Argument(help="Folder with one sub-folder of images per class, or s3://bucket/prefix.")],
    *,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Counts, formats, damaged files, duplicates and the leaks that a random split would have."""
    from sightline.cli import data as command
    from sightline.config.load import load_config
    from sightline.data.trees import resolved_source

    config = load_config(None, [*(overrides or ()), f"ingest.source={resolved_source(source)}"])
    report = command.check(config.ingest)
    if as_json:
        emit(report.model_dump(mode="json"))
    else:
        sys.stdout.write(command.describe(report))


@data_app.command(epilog="Example: sightline data push ./images s3://sightline/data/parts")
def push(
    folder: Annotated[Path, typer.Argument(help="Folder with one sub-folder of images per class.")],
    target: Annotated[str, typer.Argument(help="s3://bucket/prefix; the endpoint comes from AWS_ENDPOINT_URL.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Uploads images to a bucket with their SHA-256; what is there already stays. Then set ingest.source to the bucket."""
    from sightline.cli import data as command

    done = command.push(folder, target)
    if as_json:
        emit(done.model_dump(mode="json"))
    else:
        sys.stdout.write(command.describe_push(done))


@app.command(epilog='Example: sightline audit 7 --who Ada --why "checked 200 parts by hand"')
def audit(
    generation: Annotated[int, typer.Argument(help="The champion's generation, see `sightline champions`.")],
    *,
    who: Who,
    why: Why,
    registry: Registry = "runs/registry",
    as_json: AsJson = False,
) -> None:
    """Makes a champion the anchor that no later model may fall far below."""
    from sightline.cli import audit as command

    made = command.audit(generation, who=who, why=why, registry=registry)
    if as_json:
        emit(made)
    else:
        sys.stdout.write(command.describe_audit(made))


@app.command(epilog='Example: sightline approve --run 20260131-120000 --who Ada --why "checked 50 parts"')
def approve(
    verdict: Annotated[str, typer.Argument(help="A verdict on a compiled model, a folder or s3://…; or give --run.")] = "",
    *,
    run_id: Annotated[str, typer.Option("--run", help="The run that waits.")] = "",
    who: Who,
    why: Why,
    runs: Annotated[str, typer.Option(help="Where runs are kept, a folder or s3://… (store.runs).")] = "runs",
    registry: Registry = "runs/registry",
    as_json: AsJson = False,
) -> None:
    """Records that a person lets this model be deployed; a run with deploy.approval=required waits for it."""
    from sightline.cli import approve as command

    made = command.approve(verdict, run_id=run_id, runs=runs, registry=registry, who=who, why=why)
    if as_json:
        emit(made)
    else:
        sys.stdout.write(command.describe(made))


@app.command(epilog="Example: sightline triton runs/registry/models/DIGEST --output ./triton --tag 25.12")
def triton(
    bundle: Annotated[Path, typer.Argument(help="Folder of a compiled bundle.")],
    *,
    output: Annotated[Path, typer.Option(help="The model repository; other models in it stay.")],
    variant: Annotated[str, typer.Option(help="A TensorRT or ONNX Runtime variant; default: the one that ships.")] = "",
    name: Annotated[str, typer.Option(help="The model's name in URLs.")] = "sightline",
    tag: Annotated[str, typer.Option(help="Release of Triton that serves a plan; its TensorRT must be the one that built it.")] = "25.12",
) -> None:
    """Writes a compiled model as a model repository for Triton Inference Server."""
    from sightline.cli import triton as command

    folder = command.export(bundle, output=output, variant=variant, name=name, tag=tag)
    sys.stdout.write(f"{folder}\n")


@config_app.command()
def show(
    config: Annotated[Path | None, typer.Argument(help="A sightline.yaml; without it, the defaults.")] = None,
    *,
    overrides: Overrides = None,
) -> None:
    """The resolved configuration, every key with its value."""
    from sightline.config.load import dump_config, load_config

    sys.stdout.write(dump_config(load_config(config, overrides or ())))


@config_app.command()
def schema() -> None:
    """The JSON schema of sightline.yaml, with a description and a unit for each key."""
    from sightline.config.run import RunConfig

    emit(RunConfig.model_json_schema())


@app.command(epilog="Example: sightline cost 20260131-120000-77 --prices prices.yaml --runs s3://bucket/runs")
def cost(
    run_id: Annotated[str, typer.Argument(help="The run.")],
    *,
    prices: Annotated[str, typer.Option(help="YAML file with the price of each pool per hour (cluster.prices).")],
    runs: Annotated[str, typer.Option(help="Where the runs' records are, a folder or s3://… (store.runs).")] = "runs",
    as_json: AsJson = False,
) -> None:
    """What a run cost: seconds, GPU-minutes and money of every step; steps without a price are named, never counted as 0."""
    from sightline.cli import cost as command

    raise typer.Exit(command.cost_command(run_id, prices=prices, runs=runs, as_json=as_json))


@app.command(epilog="Example: sightline champions --json")
def champions(
    *,
    registry: Registry = "runs/registry",
    as_json: AsJson = False,
) -> None:
    """Who was champion when."""
    from sightline.cli import registry as command

    history = command.history(registry)
    if as_json:
        emit(history)
    else:
        sys.stdout.write(command.describe(history))


@app.command(epilog="Example: sightline rollback --registry s3://bucket/registry --target kserve")
def rollback(
    *,
    registry: Registry = "runs/registry",
    target: Annotated[str, typer.Option(help="local: the registry alone; kserve: also what the cluster serves.")] = "local",
    namespace: Annotated[str, typer.Option(help="kserve: namespace of the InferenceService.")] = "sightline-serving",
    model: Annotated[str, typer.Option(help="kserve: name of the InferenceService (deploy.model).")] = "sightline",
    resume: Annotated[bool, typer.Option("--resume", help="kserve: only make the cluster serve what the registry says.")] = False,
    as_json: AsJson = False,
) -> None:
    """Makes the previous champion champion again, and serves it."""
    from sightline.cli import registry as command
    from sightline.config.load import load_config

    config = load_config(None, [f"deploy.target={target}", f"deploy.model={model}"]).deploy
    champion = None if resume else command.rollback(registry)
    if target == "kserve":
        champion = command.serve_champion(registry, config, namespace=namespace)
    if champion is None:
        raise UsageError("--resume needs --target kserve", remedy="a registry alone has nothing to resume")
    if as_json:
        emit(champion)
    else:
        sys.stdout.write(command.describe([champion]))


@app.command(epilog="Example: sightline verify --registry s3://bucket/registry --cache s3://bucket/cache")
def verify(
    *,
    registry: Annotated[str, typer.Option(help="A registry, a folder or s3://… (store.registry).")] = "",
    cache: Annotated[str, typer.Option(help="Finished steps, a folder or s3://… (store.cache).")] = "",
    delete_damaged: Annotated[bool, typer.Option("--delete-damaged", help="Delete damaged finished steps; they run again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Reads everything that is kept and names what is not as it was written (exit code 65)."""
    from sightline.cli import verify as command

    found = command.verify(registry, cache, delete_damaged=delete_damaged)
    if as_json:
        emit(found)
    else:
        sys.stdout.write(command.describe(found))
    command.close(found)


@app.command(epilog="Example: sightline serve --port 8080")
def serve(
    *,
    registry: Registry = "runs/registry",
    host: Annotated[str, typer.Option(help="Address to bind to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to bind to.")] = 8080,
    log: Annotated[Path, typer.Option(help="Folder for the log of served images, which `sightline monitor` reads.")] = Path("runs/served"),
) -> None:
    """Serves the champion over HTTP (Open Inference Protocol v2) until it is stopped."""
    from sightline.cli import registry as command

    raise typer.Exit(command.serve(registry, host=host, port=port, log=log))


@app.command(epilog="Example: sightline monitor sightline.yaml --served runs/served")
def monitor(
    config: ConfigFile,
    *,
    served: Annotated[str, typer.Option(help="The server's log, a folder or s3://bucket/prefix.")] = "runs/served",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compares what was served with the champion's reference: wait, ignore, label or retrain (exit code 4)."""
    from sightline.cli import run as command
    from sightline.config.load import load_config

    raise typer.Exit(command.monitor(load_config(config, overrides or ()), served=served, as_json=as_json))


cluster.add_to(app)
