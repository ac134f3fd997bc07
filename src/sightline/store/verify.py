"""Reads finished steps again and says which are not as they were written; these can be deleted, because they can be computed again."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import DataError
from sightline.store.artifact import MANIFEST, open_artifact, parse_manifest
from sightline.store.cache import fetch_artifact
from sightline.store.objects import open_store


@dataclass(frozen=True)
class Checked:
    """A finished step in a cache: its key, and what is wrong with it; empty when nothing is."""

    key: str
    problem: str


def verify_cache(uri: str) -> Iterator[Checked]:
    """Every finished step of a cache, each file read and hashed; one step at a time is on this machine's disk.

    Args:
        uri: a folder or ``s3://bucket/prefix``.
    """
    suffix = f"/{MANIFEST}"
    for key in (key.removesuffix(suffix) for key in open_store(uri).list() if key.endswith(suffix)):
        yield Checked(key, _problem(f"{uri.rstrip('/')}/{key}"))


def delete_step(uri: str, key: str) -> None:
    """Removes a finished step, its manifest first, so that nobody finds half of it."""
    store = open_store(uri)
    store.delete(f"{key}/{MANIFEST}")
    for name in store.list(f"{key}/"):
        store.delete(name)


def _problem(uri: str) -> str:
    with tempfile.TemporaryDirectory(prefix="sightline-verify-") as scratch:
        try:
            folder = fetch_artifact(uri, Path(scratch))
            open_artifact(folder, parse_manifest((folder / MANIFEST).read_bytes(), uri).kind)
        except DataError as error:
            return str(error)
    return ""
