"""`sightline data check` and `sightline init`."""

from pathlib import Path

import yaml

from sightline.config.base import Section
from sightline.config.ingest import IngestConfig
from sightline.config.run import RunConfig
from sightline.data.check import CheckReport
from sightline.errors import UsageError


def check(config: IngestConfig) -> CheckReport:
    """What a look at the folder found."""
    from sightline.data.check import check as look

    return look(config)


def describe(report: CheckReport) -> str:
    """The report for a terminal."""
    from sightline.data.check import describe as text

    return text(report)


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
    for name, value in config:
        section = type(value)
        lines += ["", f"# {(section.__doc__ or '').strip().splitlines()[0]}", f"{name}:"]
        for key, line in zip(section.model_fields, _lines(value), strict=True):
            described = (section.model_fields[key].description or "").strip().splitlines()
            lines += [f"  # {described[0]}"] if described else []
            lines += [f"  {part}" for part in line]
    return "\n".join(lines) + "\n"


def _lines(section: Section) -> list[list[str]]:
    values = section.model_dump(mode="json")
    return [
        yaml.safe_dump({key: value}, allow_unicode=True, default_flow_style=None, width=10_000).splitlines()
        for key, value in values.items()
    ]
