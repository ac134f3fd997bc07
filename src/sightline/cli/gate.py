"""`sightline gate`: the commands and their options; the work is elsewhere."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.display import emit
from sightline.cli.options import AsJson, ConfigFile, Overrides, Registry, Verdicts, Who, Why

gate_app = typer.Typer(help="Decides whether a model may ship, and says why.", no_args_is_help=True)


@gate_app.command("plan", epilog="Example: sightline gate plan sightline.yaml --churn 0.05")
def gate_plan(
    config: ConfigFile,
    *,
    dataset: Annotated[
        str, typer.Option(help="A dataset version, a folder or s3://…; without it, the images of ingest.source are ingested.")
    ] = "",
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
