"""Audits: which champions a person has examined; the last one is the anchor that later models may not fall far below."""

import time

from pydantic import BaseModel, ConfigDict

from sightline.errors import DataError, TemporaryError, UsageError
from sightline.registry.chain import Chain
from sightline.registry.ledger import Champion, Ledger
from sightline.store.objects import ConflictError, open_store

# Audits are made by people, one after the other: more conflicts than this are no coincidence.
_ATTEMPTS = 10


class Audit(BaseModel):
    """A person's word that a champion is as good as it should be.

    Attributes:
        generation: the champion's generation in the ledger.
        digest: its bundle.
        who: the person.
        why: what was examined.
        audited_at: Unix seconds; for people, the order of the records decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    generation: int
    digest: str
    who: str
    why: str
    audited_at: float


def audit(root: str, generation: int, who: str, why: str) -> Audit:
    """Records for ever that ``who`` has audited a generation; its bundle is verified first.

    Args:
        root: the registry, a folder or ``s3://bucket/prefix``.
        generation: of the ledger; an earlier one than that of the last audit is allowed and becomes the anchor again.
        who: the person who answers for it.
        why: what was examined, in a few words.

    Raises:
        UsageError: there is no such generation, or nobody or nothing was named.
        DataError: the ledger, the bundle or an earlier audit is damaged.
    """
    missing = [name for name, text in (("who", who), ("why", why)) if not text.strip()]
    if missing:
        raise UsageError(f"an audit says who made it and why: {' and '.join(missing)} is empty", remedy="give --who and --why")
    champion = Ledger(root).open(generation)
    made = Audit(generation=generation, digest=champion.digest, who=who.strip(), why=why.strip(), audited_at=time.time())
    chain = _chain(root)
    for _ in range(_ATTEMPTS):
        links = chain.all()
        try:
            return chain.append(made, after=links[-1] if links else None).record
        except ConflictError:
            continue
    raise TemporaryError(f"another audit was recorded first, {_ATTEMPTS} times", remedy="try again")


def last_audited(root: str) -> Audit | None:
    """The audit that was recorded last, whatever its generation, or None before the first; all audits are verified.

    Raises:
        DataError: an audit is missing, altered or unreadable.
    """
    links = _chain(root).all()
    return links[-1].record if links else None


def anchor(ledger: Ledger) -> Champion | None:
    """The champion that a person audited last, with its verified bundle; None before the first promotion.

    While nobody has audited anything, the first champion is the anchor: each promotion may lose a little within its margin, and
    without a fixed point many small losses would add up unseen. An audit moves the anchor on, and only an audit does.

    Raises:
        DataError: the ledger, the bundle or an audit is damaged, or an audit names another model than the ledger.
    """
    made = last_audited(ledger.root)
    if made is None:
        return ledger.open(1) if ledger.history() else None
    try:
        champion = ledger.open(made.generation)
    except UsageError as error:
        remedy = "restore the registry from a backup"
        raise DataError(f"the audit of generation {made.generation} has no champion in the ledger", remedy=remedy) from error
    if champion.digest != made.digest:
        problem = f"it was model {made.digest[:12]}, the ledger says {champion.digest[:12]}"
        raise DataError(f"the audit of generation {made.generation} contradicts the ledger: {problem}")
    return champion


def num_audits(root: str) -> int:
    """How many audits the registry holds, each record verified to follow the one before; DataError when one was altered or is missing."""
    return len(_chain(root).all())


def _chain(root: str) -> Chain[Audit]:
    return Chain(open_store(root), "audits/", Audit)
