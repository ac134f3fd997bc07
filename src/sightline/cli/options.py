"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on standard output.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value, e.g. --set train.epochs=5.")
]
Workspace = Annotated[Path, typer.Option(help="Folder for runs, finished steps and the registry.")]
ConfigFile = Annotated[Path, typer.Argument(help="A sightline.yaml; make one with `sightline init`.")]

Verdicts = Annotated[str, typer.Argument(help="A verdict, a folder or s3://….")]
Registry = Annotated[str, typer.Option(help="The registry, a folder or s3://… (store.registry).")]
Who = Annotated[str, typer.Option(help="The person who answers for it.")]
Why = Annotated[str, typer.Option(help="The reason, in a few words.")]
