"""Finished steps by key: in a folder, or below ``s3://bucket/prefix``, where machines that share nothing else find them."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sightline.errors import DataError
from sightline.store.artifact import (
    MANIFEST,
    Artifact,
    Manifest,
    commit_artifact,
    disk_faults_explained,
    materialise,
    open_artifact,
    parse_manifest,
    write_file,
)
from sightline.store.objects import ConflictError, MissingObjectError, ObjectStore, open_store

_NUM_TRANSFERS = 8
Write = Callable[[Path], Mapping[str, Any]]


class ExpiredError(DataError):
    """Files of a finished step are gone; none is altered."""


@dataclass(frozen=True)
class Kept:
    """A finished step.

    Attributes:
        artifact: its files at the place that was asked for, verified.
        uri: where it is kept, a folder or ``s3://…``; what ``fetch_artifact`` takes.
        reused: whether it was there before.
    """

    artifact: Artifact
    uri: str
    reused: bool


class Cache(Protocol):
    """Where finished steps are kept."""

    def obtain(self, key: str, kind: str, output: Path, write: Write) -> Kept:
        """The finished step of that key at ``output``; made with ``write`` (see ``commit_artifact``) when it is not there.

        Of several machines that make the same key at once, the first to finish counts for all.

        Raises:
            DataError: what is kept was altered.
        """
        ...


def open_cache(uri: str) -> Cache:
    """The cache at a folder or ``s3://bucket/prefix``."""
    return ObjectCache(uri) if _is_remote(uri) else LocalCache(Path(uri))


def fetch_artifact(uri: str, scratch: Path) -> Path:
    """A folder with the artifact at ``uri``: the folder itself, or a verified copy below ``scratch``; the same artifact is fetched once.

    Args:
        uri: a folder, or ``s3://…`` as ``Kept.uri`` has it.
        scratch: takes the files of an artifact on S3.

    Raises:
        DataError: there is no finished artifact, or it was altered.
    """
    if not _is_remote(uri):
        return Path(uri)
    place = ObjectCache(uri.rstrip("/").rpartition("/")[0])
    key = uri.rstrip("/").rpartition("/")[2]
    manifest = place.manifest(key)
    if manifest is None:
        raise DataError(f"{uri} is not a finished artifact: it has no {MANIFEST}", remedy="run the step that makes it again")
    folder = scratch / manifest.expected_seal()[:32]
    if not (folder / MANIFEST).is_file():
        place.download(key, manifest, folder)
    return folder


def _is_remote(uri: str) -> bool:
    return "://" in uri


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with disk_faults_explained(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="sightline-step-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class LocalCache:
    """Finished steps in a folder: ``<key>/manifest.json`` and the files beside it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def obtain(self, key: str, kind: str, output: Path, write: Write) -> Kept:
        """See Cache."""
        target = self._root / key
        reused = (target / MANIFEST).is_file()
        materialise(commit_artifact(target, kind, write), output)
        return Kept(open_artifact(output, kind), str(target), reused)


class ObjectCache:
    """Finished steps below ``s3://bucket/prefix``: the files at ``<key>/<digest>/<path>``, then ``<key>/manifest.json``, created once.

    The digest is that of the content, so two machines that make the same key with different bytes (GPUs do not add in one order) never
    touch each other's files, and what a machine left behind when it died is never in the way.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self._store: ObjectStore = open_store(self._uri)

    def obtain(self, key: str, kind: str, output: Path, write: Write) -> Kept:
        """See Cache; works in a scratch folder below TMPDIR."""
        found = self.manifest(key)
        with _scratch() as scratch:
            artifact = None if found is None else self._unexpired(key, kind, found, scratch)
            materialise(artifact or self._make(key, kind, scratch, write, expired=found), output)
        return Kept(open_artifact(output, kind), f"{self._uri}/{key}", artifact is not None)

    def _unexpired(self, key: str, kind: str, manifest: Manifest, scratch: Path) -> Artifact | None:
        """The kept artifact; None when files of it are gone, which a bucket's lifecycle removes one by one. Altered ones are an error."""
        try:
            return self._open(key, kind, manifest, scratch)
        except ExpiredError:
            return None

    def _make(self, key: str, kind: str, scratch: Path, write: Write, *, expired: Manifest | None) -> Artifact:
        made = commit_artifact(scratch / "made", kind, write)
        counts = self._publish(key, made, expired)
        return made if counts.seal == made.manifest.seal else self._open(key, kind, counts, scratch)

    def _open(self, key: str, kind: str, manifest: Manifest, scratch: Path) -> Artifact:
        self.download(key, manifest, scratch / "kept")
        return open_artifact(scratch / "kept", kind)

    def manifest(self, key: str) -> Manifest | None:
        """What was committed under the key, or None."""
        try:
            data = self._store.read(f"{key}/{MANIFEST}")
        except MissingObjectError:
            return None
        return parse_manifest(data, f"{self._uri}/{key}")

    def download(self, key: str, manifest: Manifest, folder: Path) -> None:
        """Puts the files into ``folder``, each compared with its SHA-256, the manifest last.

        Raises:
            DataError: a file is altered; names each.
            ExpiredError: files are gone, and those that are there are sound.
        """

        def fetch(number: int) -> DataError | None:
            entry = manifest.files[number]
            try:
                self._store.download(f"{key}/{manifest.digest}/{entry.path}", folder / entry.path, sha256=entry.sha256)
            except DataError as error:
                return error
            return None

        with ThreadPoolExecutor(_NUM_TRANSFERS) as pool:
            errors = list(pool.map(fetch, range(len(manifest.files))))
        problems = [f"{entry.path}: {error.message}" for entry, error in zip(manifest.files, errors, strict=True) if error]
        place = f"{self._uri}/{key}"
        if problems and all(isinstance(error, MissingObjectError) for error in errors if error):
            raise ExpiredError(f"files of {place} are gone", problems=problems, remedy="run the step again")
        if problems:
            raise DataError(f"{place} was altered after it was written", problems=problems, remedy=f"delete {place} and run the step again")
        write_file(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())

    def _publish(self, key: str, made: Artifact, expired: Manifest | None) -> Manifest:
        """The manifest that counts from now on: ours, or that of a machine that was faster."""
        faster = self.manifest(key)
        if faster is not None and faster != expired:
            return faster

        def upload(number: int) -> None:
            entry = made.manifest.files[number]
            if self._store.upload(made.file(entry.path), f"{key}/{made.digest}/{entry.path}") != entry.sha256:
                raise DataError(f"{made.file(entry.path)} was altered while it was uploaded", remedy="run the step again")

        with ThreadPoolExecutor(_NUM_TRANSFERS) as pool:
            list(pool.map(upload, range(len(made.manifest.files))))
        condition = {"if_match": self._store.etag(f"{key}/{MANIFEST}")} if faster else {}
        try:
            self._store.write(f"{key}/{MANIFEST}", (made.folder / MANIFEST).read_bytes(), if_absent=not faster, **condition)
        except ConflictError:
            return self.manifest(key) or made.manifest
        return made.manifest
