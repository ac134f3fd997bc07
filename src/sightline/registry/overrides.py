"""Overrides: a person's recorded, expiring decision to ship one model in spite of checks that block it."""

import math
import time
from urllib.parse import quote

from pydantic import ValidationError

from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import Override
from sightline.store.digest import sha256_bytes, sha256_value
from sightline.store.objects import ConflictError, open_store

MAX_DAYS = 90
MIN_WORDS = 3

_DAY_S = 86_400.0
_REMEDY = "restore the registry from a backup; an override is never edited, record another one"


def record_override(root: str, override: Override) -> Override:
    """Keeps an override for ever; recording the same one again changes nothing.

    Args:
        root: the registry, a folder or ``s3://bucket/prefix``.
        override: names at least one check, a person, a reason of a few words, and an end at most 90 days after it was made.

    Raises:
        UsageError: the override says too little, lasts too long, or is over already; all problems at once.
        DataError: the record that is there was altered.
    """
    problems = override_problems(override)
    if override.until <= time.time():
        problems.append("it is over already")
    if problems:
        raise UsageError(f"this override cannot be recorded: {'; '.join(problems)}", remedy="correct it and record it again")
    data = override.model_dump_json(indent=1).encode()
    key = f"{_prefix(override.candidate)}{sha256_bytes(data)}.json"
    try:
        open_store(root).write(key, data, if_absent=True)
    except ConflictError:
        raise DataError(f"'{key}' was altered", remedy=_REMEDY) from None
    return override


def overrides_for(root: str, candidate: str, golden_digest: str, now: float) -> tuple[Override, ...]:
    """The overrides of ``candidate`` on these golden images that are valid at ``now``, oldest first; empty without any.

    Args:
        root: the registry.
        candidate: digest of the model.
        golden_digest: digest of the golden split.
        now: Unix seconds; an override is valid from ``made_at`` up to, not including, ``until``.

    Raises:
        DataError: a record of this candidate was altered, or says what ``record_override`` would have refused.
    """
    store = open_store(root)
    found = []
    for key in store.list(_prefix(candidate)):
        override = _parsed(key, store.read(key, sha256=key.rpartition("/")[2].removesuffix(".json")))
        if override.candidate != candidate:
            raise DataError(f"'{key}' is about another model: {override.candidate[:12]}", remedy=_REMEDY)
        if override.golden_digest == golden_digest and override.made_at <= now < override.until:
            found.append(override)
    return tuple(sorted(found, key=lambda override: (override.made_at, sha256_value(override.model_dump(mode="json")))))


def override_problems(override: Override) -> list[str]:
    """Why an override is not acceptable whatever the time is; empty when it is."""
    problems = []
    if not override.who.strip():
        problems.append("who answers for it is empty")
    if len(override.why.split()) < MIN_WORDS:
        problems.append(f"the reason needs {MIN_WORDS} words or more, it is '{override.why}'")
    if not override.checks or not all(name.strip() for name in override.checks):
        problems.append("it names no check")
    if not (override.candidate and override.golden_digest and override.verdict):
        problems.append("it does not say which model, golden images and verdict it is about")
    days = (override.until - override.made_at) / _DAY_S
    if not (math.isfinite(days) and 0 < days <= MAX_DAYS + 1e-6):  # seconds since 1970 plus 90 days are rounded
        problems.append(f"it must end within {MAX_DAYS} days after it was made, it ends after {days:g}")
    return problems


def _parsed(key: str, data: bytes) -> Override:
    try:
        override = Override.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"'{key}' is not readable: {error.error_count()} invalid fields", remedy=_REMEDY) from None
    problems = override_problems(override)
    if problems:
        raise DataError(f"'{key}' is not an override that can be recorded", problems=problems, remedy=_REMEDY)
    return override


def _prefix(candidate: str) -> str:
    return f"overrides/{quote(candidate, safe='').replace('.', '%2E')}/"
