"""A job of several machines in the store: its files by content, put there once, fetched once per node, verified on the way."""

import fcntl
import logging
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from sightline.errors import DataError, SightlineError
from sightline.store.code import code_digest
from sightline.store.digest import sha256_bytes, sha256_file, sha256_value
from sightline.store.objects import ObjectStore, open_store, s3_call, s3_client
from sightline.store.steps import Step

_JOB = "job.json"
_INPUTS = "inputs"
_INPUT = re.compile(rf"{_INPUTS}/([0-9a-f]{{64}})")
_LOG = logging.getLogger(__name__)
_Model = TypeVar("_Model", bound=BaseModel)


def job_key(step: Step) -> str:
    """The digest of all that decides the step's result: kind, code, inputs, configuration, seed."""
    identity = {"kind": step.kind, "code": code_digest(step.module), "inputs": dict(step.inputs), "config": dict(step.config)}
    return sha256_value({**identity, "seed": step.seed})


def job_place(jobs: str, key: str) -> str:
    """Where everything about the job of this key is, below ``store.jobs`` (a folder or ``s3://…``)."""
    return f"{jobs.rstrip('/')}/{key[:32]}"


def remove_job(place: str) -> None:
    """Deletes everything at the place; what is not there is fine, and what cannot be deleted is only said in the log."""
    if "://" not in place:
        shutil.rmtree(place, ignore_errors=True)
        return
    try:
        s3_call(place, lambda: _empty(place))
    except SightlineError as error:
        _LOG.warning("%s was not cleaned up: %s", place, error)


def _empty(place: str) -> None:
    # Not through ObjectStore: Ray leaves objects that stand for folders, whose keys end with a slash.
    client = s3_client()
    bucket, _, prefix = place.partition("://")[2].partition("/")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for entry in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=entry["Key"])


@dataclass(frozen=True)
class StagedJob:
    """A job in the store.

    Attributes:
        uri: address of its ``job.json``.
        sha256: what that file has to be; it names all others by their content.
    """

    uri: str
    sha256: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its processes are started with."""
        return ("--job", self.uri, "--sha256", self.sha256)


def stage(job: BaseModel, files: Iterable[str], place: str) -> StagedJob:
    """Puts the job and its files into the store; what is there already is not sent again.

    Args:
        job: its text fields that equal one of ``files`` are what a node finds them under.
        files: paths.
        place: see ``job_place``.
    """
    store = open_store(place)
    present, names = set(store.list(f"{_INPUTS}/")), {}
    for path in files:
        names[path] = f"{_INPUTS}/{sha256_file(Path(path))}"
        if names[path] not in present:
            store.upload(Path(path), names[path])
    text = type(job).model_validate(_renamed(job.model_dump(), names)).model_dump_json().encode()
    store.write(_JOB, text)
    return StagedJob(f"{place}/{_JOB}", sha256_bytes(text))


def fetch(staged: StagedJob, model: type[_Model], folder: Path) -> _Model:
    """The job with its files in ``folder``, every one verified.

    Any number of processes of a node may call this at once with the same folder: each file is fetched by one of them.

    Raises:
        DataError: the job or a file is not what was staged.
    """
    store = open_store(staged.uri.removesuffix(f"/{_JOB}"))
    job = model.model_validate_json(store.read(_JOB, sha256=staged.sha256)).model_dump()
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: str(folder / name.replace("/", "-")) for name in _inputs(job)}
    for name, path in places.items():
        _fetch_once(store, name, Path(path))
    return model.model_validate(_renamed(job, places))


def _fetch_once(store: ObjectStore, name: str, path: Path) -> None:
    found = _INPUT.fullmatch(name)
    if found is None:
        raise DataError(f"'{name}' is not the name of a staged file")
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():  # a download puts a file there whole and verified, or not at all
            store.download(name, path, sha256=found[1])


def _inputs(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value} if _INPUT.fullmatch(value) else set()
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {name for child in children for name in _inputs(child)}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {key: _renamed(item, names) for key, item in value.items()}
    return [_renamed(item, names) for item in value] if isinstance(value, list | tuple) else value
