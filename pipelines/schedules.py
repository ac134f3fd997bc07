"""Schedules declared in git, and the recurring runs that the server has of them.

A recurring run cannot be changed (kubeflow/pipelines#3789). A changed one is created anew and the old one deleted afterwards: whoever is
killed in between leaves two of them, one too many for a moment, and the next `apply` deletes the one that is not declared.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from pipelines import cron
from pipelines._parameters import CHOICES, for_cluster, parameters
from pipelines.client import SERVICE_ACCOUNT, Server, calling, experiment, upload, version_name
from pipelines.compilation import compiled
from sightline.config.base import Section
from sightline.config.load import load_config
from sightline.errors import UsageError

MARKER = "managed by: sightline schedule apply"
_PAGE = 100


class Schedule(Section):
    """One file of the schedules folder."""

    name: str
    """Name of the recurring run."""
    pipeline: Literal["retrain", "monitor"]
    """What is run."""
    cron: str
    """Six fields, seconds first: second, minute, hour, day of month, month, day of week."""
    time_zone: str = "UTC"
    """The time zone that `cron` is meant in; the server has one for all schedules."""
    config: str = ""
    """A sightline.yaml, relative to this file; empty: the defaults."""
    overrides: tuple[str, ...] = ()
    """Single values on top, `section.key=value` as in `--set`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of the pipeline, such as `on_drift: retrain`."""
    max_concurrency: Literal[1] = 1
    """Runs of this schedule at a time: two retrainings of one model would race for the same champion."""
    no_catchup: Literal[True] = True
    """Missed times are not made up for, because a pause would be followed by one run per missed time."""
    enabled: bool = True
    """Whether it fires."""
    service_account: str = SERVICE_ACCOUNT
    """Account of the pods; empty: the server's."""

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str) -> str:
        found = cron.problems(value)
        if found:
            raise ValueError("; ".join(found))
        return value


@dataclass(frozen=True)
class Wanted:
    """A schedule with what its runs get, as the server keeps it."""

    schedule: Schedule
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Existing:
    """A recurring run on the server that `apply` made."""

    recurring_run_id: str
    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """What `apply` would do for one name: add, change or remove; `fields` has old and new value of each field that differs."""

    kind: Literal["add", "change", "remove"]
    name: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    wanted: Wanted | None = None
    stale: tuple[Existing, ...] = ()


def read_schedules(folder: Path, *, time_zone: str = "UTC") -> list[Wanted]:
    """The declared schedules, in the order of their names.

    Args:
        folder: holds one YAML file per schedule.
        time_zone: the server's (CRON_SCHEDULE_TIMEZONE of its scheduled-workflow controller).

    Raises:
        UsageError: a file is wrong, with every problem in it; or two have one name.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", remedy="name the folder with the schedules, for example: sightline schedule plan schedules"
        )
    found = [_read(path, time_zone) for path in sorted(folder.glob("*.yaml"))]
    names = [wanted.schedule.name for wanted in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(f"{folder}: two files declare {', '.join(sorted(twice))}", remedy="give each schedule a name of its own")
    return sorted(found, key=lambda wanted: wanted.schedule.name)


def _read(path: Path, time_zone: str) -> Wanted:
    schedule = read_schedule(path)
    if schedule.time_zone != time_zone:
        raise UsageError(
            f"{path}: time_zone is {schedule.time_zone}, but the server reads cron in {time_zone}",
            remedy=f"write cron in {time_zone}, or set CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow and pass it as --time-zone",
        )
    return declare(schedule, path)


def read_schedule(path: Path) -> Schedule:
    """One file of the schedules folder.

    Raises:
        UsageError: the file is wrong, with every problem in it.
    """
    try:
        return Schedule.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].removeprefix('Value error, ')}" for detail in error.errors()]
        raise UsageError("\n  - ".join([f"{path}: {len(wrong)} problem(s)", *wrong]), remedy="see schedules/weekly-retrain.yaml") from None


def declare(schedule: Schedule, path: Path = Path("schedule.yaml")) -> Wanted:
    """A schedule with what its runs get.

    Args:
        schedule: as declared.
        path: its file; `config` is relative to it.

    Raises:
        UsageError: the configuration or a parameter is wrong.
    """
    config = load_config(path.parent / schedule.config if schedule.config else None, schedule.overrides)
    values = parameters(schedule.pipeline, for_cluster(config))
    _check_parameters(schedule, values, path)
    fields = {
        "pipeline": schedule.pipeline,
        "version": version_name(compiled(schedule.pipeline)[1]),
        "cron": schedule.cron,
        "enabled": schedule.enabled,
        "max_concurrency": schedule.max_concurrency,
        "no_catchup": schedule.no_catchup,
        "service_account": schedule.service_account,
        "parameters": {**values, **schedule.parameters},
    }
    return Wanted(schedule, fields)


def _check_parameters(schedule: Schedule, values: Mapping[str, Any], path: Path) -> None:
    for name, value in schedule.parameters.items():
        if name not in values:
            near = difflib.get_close_matches(name, values, n=1)
            raise UsageError(
                f"{path}: parameters.{name}: {schedule.pipeline} has no such parameter" + (f", did you mean `{near[0]}`?" if near else "")
            )
        if value not in CHOICES.get(name, (value,)):
            raise UsageError(f"{path}: parameters.{name} is {value!r}, expected one of {', '.join(CHOICES[name])}")


def read_existing(server: Server) -> list[Existing]:
    """The recurring runs that `apply` made; all others are nobody's business here."""
    token, found = "", []
    with calling("list recurring runs"):
        home = experiment(server)
        while True:
            page = server.client.list_recurring_runs(page_token=token, page_size=_PAGE, experiment_id=home)
            found += [run for run in page.recurring_runs or [] if (run.description or "").startswith(MARKER)]
            token = page.next_page_token or ""
            if not token:
                return [_existing(server, run) for run in found]


def _existing(server: Server, run: Any) -> Existing:
    reference = run.pipeline_version_reference
    version = server.client.get_pipeline_version(reference.pipeline_id, reference.pipeline_version_id).display_name if reference else ""
    pipeline = server.client.get_pipeline(reference.pipeline_id).display_name if reference else ""
    schedule = run.trigger.cron_schedule if run.trigger else None
    return Existing(
        str(run.recurring_run_id),
        str(run.display_name),
        {
            "pipeline": pipeline,
            "version": version,
            "cron": schedule.cron if schedule else "",
            "enabled": str(run.status) == "ENABLED",
            "max_concurrency": int(run.max_concurrency or 0),
            "no_catchup": bool(run.no_catchup),
            "service_account": run.service_account or "",
            "parameters": dict(run.runtime_config.parameters or {}) if run.runtime_config else {},
        },
    )


def plan(wanted: Sequence[Wanted], existing: Sequence[Existing]) -> list[Change]:
    """What differs between what is declared and what the server has, by name; empty when nothing does."""
    changes = [change for one in wanted if (change := _change(one, [e for e in existing if e.name == one.schedule.name]))]
    declared = {one.schedule.name for one in wanted}
    gone = sorted({one.name for one in existing} - declared)
    return changes + [Change("remove", name, stale=tuple(one for one in existing if one.name == name)) for name in gone]


def _change(wanted: Wanted, existing: Sequence[Existing]) -> Change | None:
    name = wanted.schedule.name
    if not existing:
        return Change("add", name, wanted=wanted)
    same = [one for one in existing if not _different(one.fields, wanted.fields)]
    stale = tuple(one for one in existing if one not in same[:1])
    if not stale:
        return None
    return Change("change", name, _different(stale[0].fields, wanted.fields), wanted=None if same else wanted, stale=stale)


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    before, after = _flat(old), _flat(new)
    # Where none is declared, the server fills in its own.
    ignored = set() if new["service_account"] else {"service_account"}
    keys = sorted((before.keys() | after.keys()) - ignored)
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def apply(server: Server, changes: Sequence[Change], *, prune: bool) -> list[Change]:
    """Makes the server have what is declared; returns what was done.

    Args:
        server: see `pipelines.client.connect`.
        changes: from `plan`.
        prune: also delete schedules of ours that are no longer declared.
    """
    done = [change for change in changes if prune or change.kind != "remove"]
    for change in done:
        if change.wanted:
            _create(server, change.wanted)
        for one in change.stale:
            with calling(f"delete recurring run {one.name}"):
                server.client.delete_recurring_run(one.recurring_run_id)
    return done


def _create(server: Server, wanted: Wanted) -> None:
    schedule, values = wanted.schedule, wanted.fields
    version = upload(server, schedule.pipeline)
    home = experiment(server)
    with calling(f"create recurring run {schedule.name}"):
        server.client.create_recurring_run(
            home,
            schedule.name,
            description=f"{MARKER}; changes made here are replaced. Times are {schedule.time_zone}.",
            cron_expression=schedule.cron,
            max_concurrency=schedule.max_concurrency,
            no_catchup=schedule.no_catchup,
            enabled=schedule.enabled,
            params=dict(values["parameters"]),
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            service_account=schedule.service_account or None,
        )
