"""Reads everything in a registry and says what is not as it was written."""

import tempfile
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from sightline.errors import DataError
from sightline.registry.audits import num_audits
from sightline.registry.golden import num_looks
from sightline.registry.ledger import Ledger
from sightline.store.objects import ObjectStore, open_store

# Records that are named by the SHA-256 of their content.
_SELF_NAMED = ("golden/", "looks/images/", "overrides/")
_Value = TypeVar("_Value")


class RegistryState(BaseModel):
    """What was read.

    Attributes:
        generations: entries of the promotion ledger.
        models: different models among them, each file read and hashed.
        looks: looks at golden sets.
        audits: audits of champions.
        records: golden sets, overrides and lists of images.
        problems: what was altered or is missing; empty for a sound registry.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    generations: int = 0
    models: int = 0
    looks: int = 0
    audits: int = 0
    records: int = 0
    problems: tuple[str, ...] = ()


def verify_registry(root: str) -> RegistryState:
    """The state of a registry; nothing is changed. Cost: every object is read once, models through a temporary folder.

    Args:
        root: a folder or ``s3://bucket/prefix``.
    """
    problems: list[str] = []
    generations, models = _models(root, problems)
    return RegistryState(
        generations=generations,
        models=models,
        looks=_noted(partial(num_looks, root), problems) or 0,
        audits=_noted(partial(num_audits, root), problems) or 0,
        records=_records(open_store(root), problems),
        problems=tuple(problems),
    )


def _models(root: str, problems: list[str]) -> tuple[int, int]:
    """Generations and models; models of a bucket are fetched anew, because a copy on this machine proves nothing."""
    with tempfile.TemporaryDirectory(prefix="sightline-verify-") as scratch:
        ledger = Ledger(root, cache=scratch)
        try:
            history = ledger.history()
        except DataError as error:
            problems.append(str(error))
            return 0, 0
        first = {champion.digest: champion.generation for champion in reversed(history)}
        for generation in sorted(first.values()):
            _noted(partial(ledger.open, generation), problems)
    return len(history), len(first)


def _records(store: ObjectStore, problems: list[str]) -> int:
    keys = [key for prefix in _SELF_NAMED for key in store.list(prefix)]
    for key in keys:
        name = key.rpartition("/")[2].removesuffix(".json")
        _noted(partial(store.read, key, sha256=name), problems)
    return len(keys)


def _noted(read: Callable[[], _Value], problems: list[str]) -> _Value | None:
    try:
        return read()
    except DataError as error:
        problems.append(str(error))
        return None
