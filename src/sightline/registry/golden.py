"""What the registry remembers about golden sets: the images that are frozen in them, and every look that was taken at them."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sightline.errors import DataError, TemporaryError, UsageError
from sightline.evaluate.verdict import Stage
from sightline.registry.chain import Chain, Link
from sightline.store.digest import sha256_bytes, sha256_value
from sightline.store.objects import ConflictError, MissingObjectError, ObjectStore, open_store

NO_CHAMPION = "none"

_ENTRIES, _KEYS, _IMAGES = "looks/entries/", "looks/keys/", "looks/images/"
_REMEDY = "restore the registry from a backup; without its looks no error rate can be stated"
# Each failed attempt means that another look was recorded meanwhile; more gates than this never end in the same moment.
_ATTEMPTS = 100
_Ids = TypeAdapter(list[str])


@dataclass(frozen=True)
class Look:
    """One judgement on golden images.

    Attributes:
        golden_digest: the golden set.
        sample_ids: its images; the order does not matter.
        stage: looks of different stages have ledgers of their own, because a model has to pass each stage.
        candidate: digest of the model that is judged.
        champion: digest of the model it is compared with, or "none".
    """

    golden_digest: str
    sample_ids: tuple[str, ...]
    stage: Stage
    candidate: str
    champion: str = NO_CHAMPION

    @property
    def compares(self) -> bool:
        """Whether two models are compared, so that the look spends from the alpha ledger."""
        return self.champion != NO_CHAMPION

    @property
    def key(self) -> str:
        """A digest of the question; the same question again is not a new look."""
        return sha256_value([self.stage, self.candidate, self.champion, self.golden_digest])


@dataclass(frozen=True)
class Looks:
    """The odometer after a look.

    Attributes:
        total: different looks that were taken at this golden digest, of all stages, this one included.
        attempt: the number of this look in the alpha ledger of its stage, from 1.
    """

    total: int
    attempt: int


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Set(_Frozen):
    """A golden set as of one entry: the digest of its list of ids, its looks, and the comparing ones of each stage."""

    images: str
    looks: int = 0
    compared: dict[Stage, int] = {}


class _Entry(_Frozen):
    """A look, and the counts of all golden sets after it, so that only the newest entry has to be read."""

    key: str
    stage: Stage
    candidate: str
    champion: str
    golden_digest: str
    attempt: int
    sets: dict[str, _Set]


class _Pointer(_Frozen):
    """Where the look with a certain key is."""

    number: int
    sha256: str


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


def ledger_alpha(alpha: float, attempt: int) -> float:
    """What the ``attempt``-th look may spend: 6 alpha / (pi attempt)², which adds up to ``alpha`` over any number of looks.

    Args:
        alpha: probability, over all looks together, of promoting a model that is worse by the margin; in (0, 1).
        attempt: from 1.

    Raises:
        UsageError: there is no attempt before the first.
    """
    if attempt < 1:
        raise UsageError(f"there is no attempt {attempt} in the alpha ledger", remedy="count attempts from 1")
    return alpha * 6 / (math.pi * attempt) ** 2


def record_look(root: str, look: Look) -> Looks:
    """Notes for ever that ``look`` was taken; taking the same look again is not a new one and keeps its attempt.

    The attempt is 1 plus the average number of earlier comparing looks of the stage that saw each of the look's images, rounded up.
    On an unchanged golden set that is the number of the look; a few added images do not reset it, images that replace all others do.
    Over looks at one golden set the spent alphas add up to alpha at most (union bound). For sets that overlap in part the
    average is a convention between "the same images" and "other images", which both hold exactly.

    Looks are numbered, and the number after the newest look that the writer has read is created once, by one writer. So an
    attempt is always computed from all earlier looks: of two looks at the same time one is second, and counts the first.

    Args:
        root: the registry, a folder or ``s3://bucket/prefix``.
        look: at least one image.

    Returns:
        The odometer. Cost: two listings, and one read for each golden set that was ever compared on.

    Raises:
        DataError: a record is missing, altered or unreadable, or the golden digest was recorded with other images.
        TemporaryError: too many others record looks at the same time.
    """
    if not look.sample_ids:
        raise DataError("a look at a golden set without images", remedy="raise ingest.golden_share")
    store = open_store(root)
    odometer = _Odometer(store)
    images = odometer.keep_images(look.sample_ids)
    for _ in range(_ATTEMPTS):
        try:
            return odometer.record(look, images)
        except ConflictError:
            continue
    raise TemporaryError(f"another look was recorded first, {_ATTEMPTS} times", remedy="run the gate again")


def num_looks(root: str) -> int:
    """How many looks the registry holds, each record verified to follow the one before; DataError when one was altered or is missing."""
    return len(Chain(open_store(root), _ENTRIES, _Entry).all())


class _Odometer:
    """The looks of a registry.

    Every entry but the newest surely has a pointer by its key: whoever appends an entry first makes sure that the one before has it.
    So a process that dies between entry and pointer leaves nothing that the next one does not repair.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._chain = Chain(store, _ENTRIES, _Entry)

    def keep_images(self, sample_ids: Iterable[str]) -> str:
        """Stores the set of ids once; returns its digest."""
        data = json.dumps(sorted(set(sample_ids)), indent=0).encode()
        digest = sha256_bytes(data)
        key = f"{_IMAGES}{digest}.json"
        try:
            self._store.write(key, data, if_absent=True)
        except ConflictError:
            raise DataError(f"'{key}' was altered", remedy=_REMEDY) from None
        return digest

    def record(self, look: Look, images: str) -> Looks:
        """One attempt to record; ConflictError when another look was recorded meanwhile."""
        newest = self._newest()
        if newest is not None:
            self._point(newest)
        sets = newest.record.sets if newest else {}
        known = sets.get(look.golden_digest)
        if known and known.images != images:
            raise DataError(f"the golden set {look.golden_digest[:12]} was recorded with other images", remedy=_REMEDY)
        earlier = self._find(look)
        if earlier is not None:
            # The same look may have been recorded by somebody else since the newest entry was read.
            latest = newest if newest and newest.number > earlier.number else earlier
            return Looks(latest.record.sets[look.golden_digest].looks, earlier.record.attempt)
        attempt = self._attempt(look, images, sets)
        entry = _Entry(
            key=look.key,
            stage=look.stage,
            candidate=look.candidate,
            champion=look.champion,
            golden_digest=look.golden_digest,
            attempt=attempt,
            sets=sets | {look.golden_digest: _counted(known or _Set(images=images), look)},
        )
        self._point(self._chain.append(entry, after=newest))
        return Looks(entry.sets[look.golden_digest].looks, attempt)

    def _newest(self) -> Link[_Entry] | None:
        # Listed before the entries: a pointer is written after its entry, so there can be no more pointers than entries.
        keys = self._store.list("looks/")
        foreign = [key for key in keys if not key.startswith((_ENTRIES, _KEYS, _IMAGES))]
        if foreign:
            remedy = "it may be a count of looks by an older Sightline: move it elsewhere to start a new alpha ledger"
            raise DataError(f"the registry's looks hold an object that does not belong there: '{foreign[0]}'", remedy=remedy)
        newest = self._chain.last()
        pointers = sum(key.startswith(_KEYS) for key in keys)
        if pointers > (newest.number if newest else 0):
            raise DataError(f"looks were deleted: {pointers} were taken, {newest.number if newest else 0} are left", remedy=_REMEDY)
        return newest

    def _point(self, link: Link[_Entry]) -> None:
        data = _Pointer(number=link.number, sha256=link.sha256).model_dump_json().encode()
        try:
            self._store.write(f"{_KEYS}{link.record.key}.json", data, if_absent=True)
        except ConflictError:
            raise DataError(f"look {link.number} or its key was altered", remedy=_REMEDY) from None

    def _find(self, look: Look) -> Link[_Entry] | None:
        key = f"{_KEYS}{look.key}.json"
        try:
            pointer = _Pointer.model_validate_json(self._store.read(key))
        except MissingObjectError:
            return None
        except ValidationError:
            raise DataError(f"'{key}' is not readable", remedy=_REMEDY) from None
        link = self._chain.at(pointer.number, sha256=pointer.sha256)
        if link.record.key != look.key:
            raise DataError(f"'{key}' was altered: it points to another look", remedy=_REMEDY)
        return link

    def _attempt(self, look: Look, images: str, sets: dict[str, _Set]) -> int:
        # Sets with other labels or in another order have the same images: their counts are added before anything is read.
        compared: dict[str, int] = {}
        for one in sets.values():
            compared[one.images] = compared.get(one.images, 0) + one.compared.get(look.stage, 0)
        own = set(look.sample_ids)
        seen = sum(count * len(own & self._images(digest)) for digest, count in compared.items() if count and digest != images)
        seen += compared.get(images, 0) * len(own)
        return 1 - (-seen // len(own))  # whole numbers: a float may round 3.0000000000000004 up to 4

    def _images(self, digest: str) -> set[str]:
        key = f"{_IMAGES}{digest}.json"
        try:
            return set(_Ids.validate_json(self._store.read(key, sha256=digest)))
        except ValidationError:
            raise DataError(f"'{key}' is not readable", remedy=_REMEDY) from None


def _counted(known: _Set, look: Look) -> _Set:
    compared = known.compared | ({look.stage: known.compared.get(look.stage, 0) + 1} if look.compares else {})
    return known.model_copy(update={"looks": known.looks + 1, "compared": compared})


def _prefix(name: str) -> str:
    return f"golden/{_quoted(name)}/"


def _quoted(name: str) -> str:
    if not name:
        raise UsageError("a golden set needs a name", remedy="give a non-empty name")
    return quote(name, safe="").replace(".", "%2E")
