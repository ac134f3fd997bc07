"""What the registry remembers about golden sets: the images that are frozen in them, and how often each set was looked at."""

import json
from collections.abc import Iterable
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from sightline.errors import DataError, UsageError
from sightline.store.digest import sha256_bytes
from sightline.store.objects import open_store

_Ids = TypeAdapter(list[str])


def frozen_ids(root: str, name: str) -> frozenset[str]:
    """The sample ids that were ever frozen under ``name``; empty when none were.

    Args:
        root: the registry, a folder or ``s3://bucket/prefix``.
        name: the data's name, any non-empty text.

    Raises:
        DataError: a record was altered; the golden set is then unknown and nothing may be judged on it.
    """
    store = open_store(root)
    ids: set[str] = set()
    for key in store.list(_prefix(name)):
        data = store.read(key, sha256=key.rpartition("/")[2].removesuffix(".json"))
        try:
            ids.update(_Ids.validate_json(data))
        except ValidationError as error:
            raise DataError(f"the frozen golden set '{name}' is damaged: {key}") from error
    return frozenset(ids)


def freeze(root: str, name: str, ids: Iterable[str]) -> None:
    """Adds ``ids`` to the golden set for ever; ids that are in it stay, nothing is removed.

    Each call that adds something writes one file named by its own digest, so that concurrent calls never lose an id.
    """
    added = sorted(set(ids) - frozen_ids(root, name))
    if added:
        data = json.dumps(added, indent=0).encode()
        open_store(root).write(f"{_prefix(name)}{sha256_bytes(data)}.json", data, if_absent=True)


def record_look(root: str, golden_digest: str, key: str) -> int:
    """Notes that ``key`` (a candidate, a policy) was judged on a golden set; returns the number of different keys so far, with this one.

    Looking again with the same key is not a new look.
    """
    store = open_store(root)
    prefix = f"looks/{_quoted(golden_digest)}/"
    store.write(f"{prefix}{sha256_bytes(key.encode())}.json", json.dumps({"key": key}).encode(), if_absent=True)
    return len(store.list(prefix))


def _prefix(name: str) -> str:
    return f"golden/{_quoted(name)}/"


def _quoted(name: str) -> str:
    if not name:
        raise UsageError("a golden set needs a name", remedy="give a non-empty name")
    return quote(name, safe="").replace(".", "%2E")
