"""Approvals: a person's recorded yes to one verdict on one model, before any client sees that model."""

import time

from pydantic import ValidationError

from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import Frozen, Verdict
from sightline.store.objects import ConflictError, MissingObjectError, open_store

MIN_WORDS = 2
_REMEDY = "restore the registry from a backup; an approval is never edited"


class Approval(Frozen):
    """One approval.

    Attributes:
        verdict: signature of the verdict that was approved.
        candidate: digest of the model that the verdict is about.
        champion: digest of the model that it was compared with, or "none".
        who: the person who answers for it.
        why: the reason.
        made_at: Unix seconds.
    """

    verdict: str
    candidate: str
    champion: str
    who: str
    why: str
    made_at: float


def approve(root: str, verdict: Verdict, *, who: str, why: str) -> Approval:
    """Keeps the approval of a verdict for ever; the first one counts, and is returned for every later one.

    Args:
        root: the registry, a folder or ``s3://bucket/prefix``.
        verdict: a verified verdict that lets a compiled model pass.
        who: the person who answers for it.
        why: the reason, in two words or more.

    Raises:
        UsageError: the verdict lets nothing be deployed, or the approval says too little; all problems at once.
        DataError: the record that is there was altered.
    """
    problems = []
    if verdict.outcome != "pass":
        problems.append(f"the verdict says '{verdict.outcome}': {verdict.reason}")
    if verdict.stage != "compiled":
        problems.append(f"the verdict is about the {verdict.stage} model; what is deployed is the compiled one")
    if not who.strip():
        problems.append("who answers for it is empty")
    if len(why.split()) < MIN_WORDS:
        problems.append(f"the reason needs {MIN_WORDS} words or more, it is '{why}'")
    if problems:
        raise UsageError(f"this cannot be approved: {'; '.join(problems)}", remedy="see sightline gate explain")
    made = Approval(
        verdict=verdict.signature,
        candidate=verdict.candidate,
        champion=verdict.champion,
        who=who.strip(),
        why=why.strip(),
        made_at=time.time(),
    )
    try:
        open_store(root).write(_key(verdict), made.model_dump_json(indent=1).encode(), if_absent=True)
    except ConflictError:
        return approval_of(root, verdict) or made
    return made


def approval_of(root: str, verdict: Verdict) -> Approval | None:
    """The approval of this very verdict on this very model, or None.

    Raises:
        DataError: the record was altered or is about something else.
    """
    key = _key(verdict)
    try:
        approval = Approval.model_validate_json(open_store(root).read(key))
    except MissingObjectError:
        return None
    except ValidationError as error:
        raise DataError(f"'{key}' is not readable: {error.error_count()} invalid fields", remedy=_REMEDY) from None
    if (approval.verdict, approval.candidate, approval.champion) != (verdict.signature, verdict.candidate, verdict.champion):
        raise DataError(f"'{key}' is about another verdict or model ({approval.candidate[:12]})", remedy=_REMEDY)
    return approval


def _key(verdict: Verdict) -> str:
    return f"approvals/{verdict.signature}.json"
