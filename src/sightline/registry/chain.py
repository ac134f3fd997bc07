"""Append-only records: one numbered file each, created exactly once, each holding the digest of the one before it."""

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from sightline.errors import DataError
from sightline.store.digest import sha256_bytes, sha256_value
from sightline.store.objects import ObjectStore

_REMEDY = "restore the registry from a backup; it is never reset by itself"
_NUMBER = re.compile(r"(\d{8})\.json")

Record = TypeVar("Record", bound=BaseModel)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int
    predecessor: str  # SHA-256 of the file before; empty for the first
    record: dict[str, JsonValue]
    checksum: str = ""

    def seal(self) -> str:
        return sha256_value(self.model_dump(mode="json", exclude={"checksum"}))

    def bytes(self) -> bytes:
        return self.model_copy(update={"checksum": self.seal()}).model_dump_json(indent=1).encode()


@dataclass(frozen=True)
class Link(Generic[Record]):
    """A record with its number (from 1) and the SHA-256 of its file."""

    number: int
    record: Record
    sha256: str
    predecessor: str


class Chain(Generic[Record]):
    """Records of one kind below a prefix of a store. Any number of processes may append at once: each number has exactly one writer.

    The digests show damage and edits. They are no secret: a person who may write to the store can forge a whole chain.

    Args:
        store: where.
        prefix: the chain's own prefix, ending in a slash.
        kind: the class of its records.
    """

    def __init__(self, store: ObjectStore, prefix: str, kind: type[Record]) -> None:
        self._store = store
        self._prefix = prefix
        self._kind = kind

    def last(self) -> Link[Record] | None:
        """The newest record, itself verified, or None for an empty chain; cost: one listing, one read.

        Raises:
            DataError: a number is missing, there is a foreign object, or the record was altered.
        """
        count = self._count()
        return self.at(count) if count else None

    def all(self) -> list[Link[Record]]:
        """Every record, oldest first, each verified to follow the one before; cost: one read per record."""
        links: list[Link[Record]] = []
        for number in range(1, self._count() + 1):
            link = self.at(number)
            if link.predecessor != (links[-1].sha256 if links else ""):
                raise DataError(f"'{self._key(number)}' does not follow '{self._key(number - 1)}': one was altered", remedy=_REMEDY)
            links.append(link)
        return links

    def at(self, number: int, *, sha256: str = "") -> Link[Record]:
        """The record with this number, checked against ``sha256`` when it is given."""
        key = self._key(number)
        data = self._store.read(key, sha256=sha256)
        try:
            file = _File.model_validate_json(data)
            record = self._kind.model_validate(file.record)
        except ValidationError as error:
            raise DataError(f"'{key}' is not readable: {error.error_count()} invalid fields", remedy=_REMEDY) from None
        if file.bytes() != data or file.number != number:
            raise DataError(f"'{key}' was altered", remedy=_REMEDY)
        return Link(number, record, sha256_bytes(data), file.predecessor)

    def append(self, record: Record, *, after: Link[Record] | None) -> Link[Record]:
        """Puts ``record`` behind ``after``, the newest one that the caller has seen.

        Raises:
            ConflictError: somebody else appended in between; read ``last`` again and decide again.
        """
        number, predecessor = (after.number + 1, after.sha256) if after else (1, "")
        data = _File(number=number, predecessor=predecessor, record=record.model_dump(mode="json")).bytes()
        self._store.write(self._key(number), data, if_absent=True)
        return Link(number, record, sha256_bytes(data), predecessor)

    def _count(self) -> int:
        names = [key.removeprefix(self._prefix) for key in self._store.list(self._prefix)]
        found = {int(match[1]) for name in names if (match := _NUMBER.fullmatch(name))}
        if len(found) != len(names):
            foreign = next(name for name in names if not _NUMBER.fullmatch(name))
            raise DataError(f"'{self._prefix}{foreign}' does not belong there", remedy=_REMEDY)
        missing = sorted(set(range(1, max(found, default=0) + 1)) - found)
        if missing:
            raise DataError(f"'{self._key(missing[0])}' is missing", remedy=_REMEDY)
        return len(found)

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08d}.json"
