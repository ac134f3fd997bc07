"""The commands and their options; the work is elsewhere."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sightline import __version__
from sightline.cli.display import emit

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
gate_app = typer.Typer(help="Decides whether a model may ship, and says why.", no_args_is_help=True)
config_app = typer.Typer(help="Shows the configuration.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(gate_app, name="gate")
app.add_typer(config_app, name="config")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on standard output.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value, e.g. --set train.epochs=5.")
]
Workspace = Annotated[Path, typer.Option(help="Folder for runs, finished steps and the registry.")]
ConfigFile = Annotated[Path, typer.Argument(help="A sightline.yaml; make one with `sightline init`.")]


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


@app.command(epilog="Example: sightline init --data ./images > sightline.yaml")
def init(data: Annotated[Path, typer.Option(help="Folder with one sub-folder of images per class.")]) -> None:
    """Looks at a folder of images and prints a configuration for it."""
    from sightline.cli import data as command

    sys.stdout.write(command.initial_config(data))


@data_app.command(epilog="Example: sightline data check ./images --json")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with one sub-folder of images per class.")],
    *,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Counts, formats, damaged files, duplicates and the leaks that a random split would have."""
    from sightline.cli import data as command
    from sightline.config.load import load_config

    config = load_config(None, [*(overrides or ()), f"ingest.source={folder.resolve()}"])
    report = command.check(config.ingest)
    if as_json:
        emit(report.model_dump(mode="json"))
    else:
        sys.stdout.write(command.describe(report))


@gate_app.command("plan", epilog="Example: sightline gate plan sightline.yaml --churn 0.05")
def gate_plan(
    config: ConfigFile,
    *,
    dataset: Annotated[Path | None, typer.Option(help="A dataset version; without it, the images of ingest.source are ingested.")] = None,
    churn: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of images on which equally good models differ; default: as in the last verdict."),
    ] = None,
    attempts: Annotated[int, typer.Option(min=1, help="The how-many-th look at this golden set is planned.")] = 1,
    together: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Where images come in groups: share of groups whose images change all together; default: 0.1."),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Before any training: what these golden images can prove, and which margins they cannot support."""
    from sightline.cli import gate_plan as command
    from sightline.config.load import load_config

    loaded = load_config(config, overrides or ())
    code = command.plan_command(loaded, dataset=dataset, churn=churn, attempts=attempts, as_json=as_json, together=together)
    raise typer.Exit(code)


@gate_app.command("run", epilog="Example: sightline gate run current.json new.json --truth golden.json --images ./images")
def gate_run(
    current: Annotated[
        str, typer.Argument(help="The model in production: a bundle or predictions; 'champion' of the registry; or 'none'.")
    ],
    new: Annotated[Path, typer.Argument(help="The candidate: a bundle, or predictions in the same format.")],
    *,
    dataset: Annotated[Path | None, typer.Option(help="For bundles: a dataset version with the golden images.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="For predictions: a table (image, label, …), a COCO file, or a folder of PNG masks.")
    ] = None,
    attributes: Annotated[Path | None, typer.Option(help="A table with slice attributes and groups per image.")] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of the golden images, for pictures and image properties.")] = None,
    classes: Annotated[str, typer.Option(help="Class names of masks, in the order of their values, comma-separated.")] = "",
    endpoint: Annotated[str, typer.Option(help="URL of a server that serves the candidate; its answers are judged too.")] = "",
    policy: Annotated[Path | None, typer.Option(help="A sightline.yaml whose gate section is the policy.")] = None,
    registry: Annotated[str, typer.Option(help="Where looks, overrides and audits are kept (store.registry).")] = "",
    output: Annotated[Path | None, typer.Option(help="Folder for the verdict and its page; default: runs/gate-<time>.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Judges a candidate against the current model on the same golden images; exit code 3 when it must not ship."""
    from sightline.cli import gate_run as command
    from sightline.config.load import load_config

    request = command.Request(
        current=current,
        new=new,
        dataset=dataset,
        truth=truth,
        attributes=attributes,
        images=images,
        classes=tuple(name.strip() for name in classes.split(",") if name.strip()),
        endpoint=endpoint,
        output=output,
        registry=registry,
    )
    raise typer.Exit(command.run_command(request, load_config(policy, overrides or ()).gate, as_json=as_json))


Verdicts = Annotated[Path, typer.Argument(help="A verdict's folder.")]
Registry = Annotated[str, typer.Option(help="The registry (store.registry).")]
Who = Annotated[str, typer.Option(help="The person who answers for it.")]
Why = Annotated[str, typer.Option(help="The reason, in a few words.")]


@gate_app.command("explain", epilog="Example: sightline gate explain runs/gate-20260131-120000")
def gate_explain(verdict: Verdicts, *, as_json: AsJson = False) -> None:
    """Why a model may or may not ship: the sentence, what blocks, labels missing, worst slices, newly broken images."""
    from sightline.cli import gate_explain as command

    raise typer.Exit(command.explain_command(verdict, as_json=as_json))


@gate_app.command("override", epilog='Example: sightline gate override VERDICT --check overall --who Ada --why "old site closed" --days 7')
def gate_override(
    verdict: Verdicts,
    *,
    check: Annotated[list[str], typer.Option("--check", help="Name of a check that blocks; may be given several times.")],
    who: Who,
    why: Why,
    days: Annotated[float, typer.Option(help="How long it holds, at most 90.")] = 7.0,
    registry: Registry = "runs/registry",
    as_json: AsJson = False,
) -> None:
    """Records that a person ships this model in spite of a check; the next gate calls the check waived, never passed."""
    from sightline.cli import audit as command

    made = command.override(verdict, check, who=who, why=why, days=days, registry=registry)
    if as_json:
        emit(made)
    else:
        sys.stdout.write(command.describe_override(made))


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


@app.command(epilog="Example: sightline champions --json")
def champions(
    *,
    registry: Annotated[Path, typer.Option(help="The registry folder (store.registry).")] = Path("runs/registry"),
    as_json: AsJson = False,
) -> None:
    """Who was champion when."""
    from sightline.cli import registry as command

    history = command.history(registry)
    if as_json:
        emit(history)
    else:
        sys.stdout.write(command.describe(history))


@app.command(epilog="Example: sightline rollback --registry runs/registry")
def rollback(
    *,
    registry: Annotated[Path, typer.Option(help="The registry folder (store.registry).")] = Path("runs/registry"),
    as_json: AsJson = False,
) -> None:
    """Makes the previous champion champion again."""
    from sightline.cli import registry as command

    champion = command.rollback(registry)
    if as_json:
        emit(champion)
    else:
        sys.stdout.write(command.describe([champion]))


@app.command(epilog="Example: sightline serve --port 8080")
def serve(
    *,
    registry: Annotated[Path, typer.Option(help="The registry folder (store.registry).")] = Path("runs/registry"),
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
    served: Annotated[Path, typer.Option(help="Folder of the server's log.")] = Path("runs/served"),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compares what was served with the champion's reference: wait, ignore, label or retrain (exit code 4)."""
    from sightline.cli import run as command
    from sightline.config.load import load_config

    raise typer.Exit(command.monitor(load_config(config, overrides or ()), served=served, as_json=as_json))
