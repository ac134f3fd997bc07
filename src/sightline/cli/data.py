"""`sightline data check` and `sightline init`."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sightline.config.ingest import IngestConfig
from sightline.config.run import RunConfig
from sightline.data.check import CheckReport
from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.data.push import Pushed

_REPORT_S = 2.0


def check(config: IngestConfig) -> CheckReport:
    """What a look at the folder found."""
    from sightline.data.check import check as look

    return look(config)


def describe(report: CheckReport) -> str:
    """The report for a terminal."""
    from sightline.data.check import describe as text

    return text(report)


def push(folder: Path, target: str) -> "Pushed":
    """Uploads a folder, with progress on standard error."""
    from sightline.data.push import push as upload

    shown = [0.0]

    def report(text: str) -> None:
        now = time.monotonic()
        if now - shown[0] >= _REPORT_S:
            shown[0] = now
            sys.stderr.write(f"  {text}\n")

    return upload(folder, target, report)


def describe_push(done: "Pushed") -> str:
    """The result for a terminal."""
    refused = f", {done.refused} refused by their name (sightline data check shows them)" if done.refused else ""
    return f"{done.uploaded} files uploaded, {done.unchanged} were there already{refused}\n  source  {done.target}\n"


def initial_config(folder: Path) -> str:
    """A configuration for the images in ``folder``, as YAML with a comment on each key.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds nothing that can be trained on.
    """
    from sightline.data.check import suggest

    if not folder.is_dir():
        raise UsageError(f"--data: there is no folder {folder}", remedy="name the folder that has one sub-folder of images per class")
    ingest = suggest(IngestConfig(source=str(folder.resolve())))
    return _commented(RunConfig(ingest=ingest))


def _commented(config: RunConfig) -> str:
    lines = ["# Made by `sightline init`. Every key has its default or what was found in the images; delete what you do not change."]
    for name, section in config:
        fields = type(section).model_fields
        lines += ["", f"# {(type(section).__doc__ or '').strip().splitlines()[0]}", f"{name}:"]
        for key, value in section.model_dump(mode="json").items():
            lines += [f"  # {line}" for line in (fields[key].description or "").strip().splitlines()]
            lines.append(f"  {key}: {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    return yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
