"""Idempotency keys: who may create the run of a key, and which run it was."""

import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from sightline.errors import UsageError
from sightline.store.digest import sha256_value
from sightline.store.objects import ConflictError, MissingObjectError, ObjectStore

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WAIT_S = 30.0
_POLL_S = 0.5


class Claim(BaseModel):
    """``submissions/<key>.json`` of the registry, written before the run is created and never changed.

    Attributes:
        owner: the process that claimed it; another one waits for it, and takes over when nothing comes.
        digest: of the pipeline and its parameters, so that a key stands for one question.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str
    pipeline: str
    run_name: str
    digest: str
    owner: str

    @classmethod
    def of(cls, key: str, *, pipeline: str, run_name: str, values: Mapping[str, Any]) -> "Claim":
        """A claim of this process.

        Raises:
            UsageError: the key cannot be a name.
        """
        if not _KEY.fullmatch(key):
            raise UsageError(f"--key {key}: expected up to 100 letters, digits, dots, dashes and underscores")
        digest = sha256_value({"pipeline": pipeline, "parameters": dict(values)})
        return cls(key=key, pipeline=pipeline, run_name=run_name, digest=digest, owner=uuid.uuid4().hex)


class Started(BaseModel):
    """``submissions/<key>.run.json``: the run that a key stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    run_id: str


def once(
    registry: ObjectStore, claim: Claim, *, find: Callable[[], str], create: Callable[[], str], wait_s: float = _WAIT_S
) -> tuple[str, bool]:
    """The id of the one run of a key, and whether it was there before.

    The claim is written first, then the run is created, then its id is written. A process that died in between left a claim without an id:
    the next one looks for a run of that name on the server, waits for the owner's, and creates it when there is none.

    Args:
        registry: where claims are kept; its conditional writes decide who is first.
        claim: what this process asks for.
        find: the id of a run with the claim's name on the server; empty when there is none.
        create: makes the run and returns its id.
        wait_s: seconds to wait for the owner of an earlier claim.

    Raises:
        UsageError: the key stands for another question.
    """
    if _claimed(registry, claim):
        run_id, existing = create(), False
    else:
        run_id, existing = _earlier(registry, claim, find, wait_s), True
        if not run_id:
            run_id, existing = create(), False
    return _recorded(registry, claim.key, run_id), existing


def _claimed(registry: ObjectStore, claim: Claim) -> bool:
    place = f"submissions/{claim.key}.json"
    try:
        registry.write(place, claim.model_dump_json(indent=1).encode(), if_absent=True)
    except ConflictError:
        earlier = Claim.model_validate_json(registry.read(place))
    else:
        return True
    if earlier.digest != claim.digest:
        raise UsageError(
            f"key {claim.key} stands for another submission, run {earlier.run_name}: the pipeline or a parameter is different",
            remedy="use another --key for another question",
        )
    return False


def _earlier(registry: ObjectStore, claim: Claim, find: Callable[[], str], wait_s: float) -> str:
    deadline = time.monotonic() + wait_s
    while True:
        run_id = _known(registry, claim.key) or find()
        if run_id or time.monotonic() > deadline:
            return run_id
        time.sleep(_POLL_S)


def _known(registry: ObjectStore, key: str) -> str:
    try:
        return Started.model_validate_json(registry.read(f"submissions/{key}.run.json")).run_id
    except MissingObjectError:
        return ""


def _recorded(registry: ObjectStore, key: str, run_id: str) -> str:
    try:
        registry.write(f"submissions/{key}.run.json", Started(run_id=run_id).model_dump_json().encode(), if_absent=True)
    except ConflictError:
        return _known(registry, key)
    return run_id
