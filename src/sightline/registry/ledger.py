"""The promotion ledger: one file per generation, created exactly once, each holding the digest of the one before it."""

import contextlib
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import DataError, TemporaryError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.store.artifact import MANIFEST, Artifact, Manifest, commit_artifact
from sightline.store.digest import sha256_bytes, sha256_file, sha256_value
from sightline.store.objects import ConflictError, LocalStore, MissingObjectError, open_store

_ENTRY = re.compile(r"ledger/(\d{8})\.json")
_REMEDY = "restore the registry from a backup; it is never reset by itself"


class Champion(BaseModel):
    """The model in production, as of one generation.

    Attributes:
        generation: 1 for the first promotion, then without gaps.
        digest: the bundle's content digest.
        folder: a copy of the bundle kept by the registry.
        run_id: the run that promoted it.
        verdict_digest: the verdict it was promoted on.
        promoted_at: Unix time, seconds; for people, never used to decide anything.
        previous: the generation that a rollback returns to, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    generation: int
    digest: str
    folder: str
    run_id: str
    verdict_digest: str
    promoted_at: float
    previous: int | None


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    generation: int
    action: Literal["promote", "rollback"]
    digest: str
    kind: str
    run_id: str
    verdict_digest: str
    promoted_at: float
    previous: int | None
    predecessor: str  # SHA-256 of the file of the generation before; empty for the first
    nonce: str  # makes each attempt unique, so that equal bytes mean "our own write"
    checksum: str = ""

    def sealed(self) -> "_Entry":
        return self.model_copy(update={"checksum": self.seal()})

    def seal(self) -> str:
        return sha256_value(self.model_dump(mode="json", exclude={"checksum"}))


class Ledger:
    """Which model is in production, and all that were.

    Any number of processes may promote at once: each generation has exactly one winner, and a process that is killed at any moment
    leaves the old champion or the new one.

    Args:
        root: a folder or ``s3://bucket/prefix``; made when needed.
        cache: for an s3 root, the folder that keeps the downloaded bundles; empty: ``~/.cache/sightline/models``.
    """

    def __init__(self, root: str, *, cache: str = "") -> None:
        self.root = root
        self._store = open_store(root)
        self._local = isinstance(self._store, LocalStore)
        default = self._store.root / "models" if isinstance(self._store, LocalStore) else Path.home() / ".cache" / "sightline" / "models"
        self._models = Path(cache).absolute() if cache and not self._local else default

    def champion(self) -> Champion | None:
        """The champion with its verified copy of the bundle, or None before the first promotion.

        Raises:
            DataError: the chain is broken, or the copy of the bundle is damaged.
        """
        entries = self._entries()
        if not entries:
            return None
        self._open_bundle(entries[-1])
        return self._champion(entries[-1])

    def open(self, generation: int) -> Champion:
        """The champion of an earlier generation with its verified copy of the bundle.

        Raises:
            UsageError: the ledger has no such generation.
            DataError: the chain is broken, or the copy of the bundle is damaged.
        """
        entries = self._entries()
        if not 1 <= generation <= len(entries):
            known = f"generations 1 to {len(entries)}" if entries else "no champion yet"
            raise UsageError(f"there is no generation {generation}; {self.root} has {known}", remedy="see sightline champions")
        self._open_bundle(entries[generation - 1])
        return self._champion(entries[generation - 1])

    def history(self) -> list[Champion]:
        """All generations, oldest first, the chain verified, the bundles not; empty before the first promotion."""
        return [self._champion(entry) for entry in self._entries()]

    def promote(self, bundle: ModelBundle, *, expected_generation: int, run_id: str, verdict_digest: str) -> Champion:
        """Makes ``bundle`` the champion if the champion is still the one that the caller compared it with.

        Args:
            bundle: the opened bundle; it is copied into the registry, file by file verified, before the ledger names it.
            expected_generation: the generation that the bundle was judged against; 0: there was no champion.
            run_id: the run that promotes.
            verdict_digest: the verdict that allows it.

        Returns:
            The new champion; promoting the current champion again changes nothing and returns it.

        Raises:
            TemporaryError: somebody else promoted first; the message says who.
            DataError: the chain or the bundle is damaged.
        """
        entries = self._entries()
        if entries and entries[-1].digest == bundle.digest:
            self._open_bundle(entries[-1])
            return self._champion(entries[-1])
        if len(entries) != expected_generation:
            raise _lost(expected_generation, entries)
        self.keep(bundle)
        return self._append(
            entries,
            action="promote",
            digest=bundle.digest,
            kind=bundle.artifact.manifest.kind,
            run_id=run_id,
            verdict_digest=verdict_digest,
            previous=entries[-1].generation if entries else None,
        )

    def keep(self, bundle: ModelBundle) -> str:
        """Puts a verified copy of the bundle at ``models/<digest>`` of the registry, champion or not; once is enough, more do no harm.

        Returns:
            The copy's address: ``<root>/models/<digest>``.

        Raises:
            DataError: the bundle or the copy that is there is damaged.
        """
        kept = commit_artifact(self._models / bundle.digest, bundle.artifact.manifest.kind, lambda folder: _copy(bundle.artifact, folder))
        if kept.digest != bundle.digest:
            raise DataError(f"{kept.folder} holds another model than its name says", remedy=_REMEDY)
        if not self._local:
            for entry in kept.manifest.files:
                self._store.upload(kept.folder / entry.path, f"models/{bundle.digest}/{entry.path}")
            with contextlib.suppress(ConflictError):  # somebody kept the same content, made from other inputs
                self._store.write(f"models/{bundle.digest}/{MANIFEST}", (kept.folder / MANIFEST).read_bytes(), if_absent=True)
        return self.address(bundle.digest)

    def address(self, digest: str) -> str:
        """Where the registry keeps the bundle of that digest: ``<root>/models/<digest>``."""
        return f"{self.root.rstrip('/')}/models/{digest}"

    def rollback(self) -> Champion:
        """Makes the champion's predecessor the champion again, as a new generation; its bundle is verified first.

        A second rollback goes one further back, never forward to a model that was rolled back.

        Raises:
            UsageError: there is nothing to roll back to.
            TemporaryError: somebody else promoted at the same time.
            DataError: the chain or the predecessor's bundle is damaged.
        """
        entries = self._entries()
        if not entries or entries[-1].previous is None:
            raise UsageError("there is no earlier champion to roll back to", remedy="promote a model first")
        target = entries[entries[-1].previous - 1]
        self._open_bundle(target)
        return self._append(
            entries,
            action="rollback",
            digest=target.digest,
            kind=target.kind,
            run_id=target.run_id,
            verdict_digest=target.verdict_digest,
            previous=target.previous,
        )

    def _append(self, entries: list[_Entry], **fields: Any) -> Champion:
        generation = len(entries) + 1
        predecessor = sha256_bytes(_bytes(entries[-1])) if entries else ""
        entry = _Entry(generation=generation, predecessor=predecessor, promoted_at=time.time(), nonce=uuid.uuid4().hex, **fields).sealed()
        try:
            self._store.write(_key(generation), _bytes(entry), if_absent=True)
        except ConflictError:
            now = self._entries()
            if now[-1].digest == entry.digest:
                return self._champion(now[-1])
            raise _lost(generation - 1, now) from None
        return self._champion(entry)

    def _entries(self) -> list[_Entry]:
        found = {int(match[1]) for key in self._store.list("ledger/") if (match := _ENTRY.fullmatch(key))}
        if found != set(range(1, len(found) + 1)):
            missing = sorted(set(range(1, max(found) + 1)) - found)
            raise DataError(f"the promotion ledger is broken: generations {missing} are missing", remedy=_REMEDY)
        entries: list[_Entry] = []
        predecessor = ""
        for generation in sorted(found):
            data = self._store.read(_key(generation))
            entries.append(_parsed(generation, data, predecessor))
            predecessor = sha256_bytes(data)
        return entries

    def _champion(self, entry: _Entry) -> Champion:
        return Champion(
            generation=entry.generation,
            digest=entry.digest,
            folder=str(self._models / entry.digest),
            run_id=entry.run_id,
            verdict_digest=entry.verdict_digest,
            promoted_at=entry.promoted_at,
            previous=entry.previous,
        )

    def _open_bundle(self, entry: _Entry) -> None:
        folder = self._models / entry.digest
        if self._local and not (folder / MANIFEST).is_file():
            raise DataError(f"the bundle of generation {entry.generation} is gone: {folder}", remedy=_REMEDY)
        kept = commit_artifact(folder, entry.kind, lambda aside: self._download(entry, aside))
        if kept.digest != entry.digest:
            raise DataError(f"{folder} holds another model than generation {entry.generation} names", remedy=_REMEDY)

    def _download(self, entry: _Entry, folder: Path) -> Mapping[str, Any]:
        prefix = f"models/{entry.digest}"
        try:
            manifest = Manifest.model_validate_json(self._store.read(f"{prefix}/{MANIFEST}"))
        except (MissingObjectError, ValidationError) as error:
            raise DataError(f"the bundle of generation {entry.generation} cannot be read: {error}", remedy=_REMEDY) from error
        for file in manifest.files:
            self._store.download(f"{prefix}/{file.path}", folder / file.path, sha256=file.sha256)
        return _fields(manifest)


def _key(generation: int) -> str:
    return f"ledger/{generation:08d}.json"


def _bytes(entry: _Entry) -> bytes:
    return entry.model_dump_json(indent=1).encode()


def _parsed(generation: int, data: bytes, predecessor: str) -> _Entry:
    try:
        entry = _Entry.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"the promotion ledger is broken: generation {generation} is not readable", remedy=_REMEDY) from error
    if entry.checksum != entry.seal() or _bytes(entry) != data:
        raise DataError(f"the promotion ledger is broken: generation {generation} was altered", remedy=_REMEDY)
    if entry.generation != generation or entry.predecessor != predecessor:
        raise DataError(
            f"the promotion ledger is broken: generation {generation} does not follow generation {generation - 1}", remedy=_REMEDY
        )
    return entry


def _lost(expected: int, entries: list[_Entry]) -> TemporaryError:
    if not entries:
        return TemporaryError(f"expected generation {expected}, but there is no champion yet", remedy="judge the model again")
    now = entries[-1]
    return TemporaryError(
        f"expected generation {expected}, but generation {now.generation} was promoted by run '{now.run_id}' (model {now.digest[:12]})",
        remedy="run the gate again: it compares with the new champion",
    )


def _copy(artifact: Artifact, folder: Path) -> Mapping[str, Any]:
    # Real copies, never hard links: damage to the cache must not reach the model in production.
    for entry in artifact.manifest.files:
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.folder / entry.path, target)
        if sha256_file(target) != entry.sha256:
            raise DataError(
                f"{artifact.folder / entry.path} was altered while it was copied into the registry", remedy="run the step again"
            )
    return _fields(artifact.manifest)


def _fields(manifest: Manifest) -> Mapping[str, Any]:
    return manifest.model_dump(include={"schema_version", "inputs", "code", "config", "seed", "result"})
