"""Artifact folders: written aside, manifested last, renamed into place, verified on every read."""

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import DataError, EnvironmentFault
from sightline.store.digest import sha256_file, sha256_value

MANIFEST = "manifest.json"


class FileEntry(BaseModel):
    """One file of an artifact: path relative to its folder, size in bytes, SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    size_bytes: int
    sha256: str


class Manifest(BaseModel):
    """What an artifact folder holds and what it was made from.

    ``digest`` covers ``kind`` and ``files`` only: a change of code that leaves the content alone leaves the digest alone,
    so the steps behind it stay cached. ``seal`` covers every other field, so that a result or a configuration cannot be altered unnoticed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: str
    schema_version: int = 1
    digest: str
    files: tuple[FileEntry, ...]
    inputs: dict[str, str] = {}
    code: str = ""
    config: dict[str, Any] = {}
    seed: int | None = None
    result: dict[str, Any] = {}
    seal: str = ""

    def sealed(self) -> "Manifest":
        """The same manifest with its seal, as it will be read back."""
        read_back = Manifest.model_validate_json(self.model_dump_json())
        return read_back.model_copy(update={"seal": read_back.expected_seal()})

    def expected_seal(self) -> str:
        """The digest of all other fields."""
        return sha256_value(self.model_dump(mode="json", exclude={"seal"}))


class Artifact:
    """A committed folder whose files were all checked against the manifest when it was opened."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def digest(self) -> str:
        """The content digest (kind and files)."""
        return self.manifest.digest

    def file(self, name: str) -> Path:
        """The path of a manifested file; raises DataError for a file the manifest does not name."""
        if all(entry.path != name for entry in self.manifest.files):
            known = ", ".join(entry.path for entry in self.manifest.files)
            raise DataError(f"{self.folder} has no file '{name}' in its manifest; it has: {known}")
        return self.folder / name


def content_digest(kind: str, files: tuple[FileEntry, ...]) -> str:
    """The digest that names an artifact's content."""
    return sha256_value({"kind": kind, "files": [[entry.path, entry.sha256] for entry in files]})


def open_artifact(folder: Path, kind: str | tuple[str, ...]) -> Artifact:
    """The artifact in ``folder``, every file verified.

    Args:
        folder: a committed artifact folder.
        kind: the kind, or kinds, that the caller can use.

    Raises:
        DataError: no manifest, another kind, or a file that is missing, extra-sized or altered.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes(), str(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} is not a finished artifact: it has no {MANIFEST}", remedy="run the step that makes it again") from None
    if manifest.kind not in kinds:
        raise DataError(f"{folder} is a '{manifest.kind}', expected {' or '.join(kinds)}")
    problems = [problem for entry in manifest.files if (problem := _problem(folder, entry))]
    if content_digest(manifest.kind, manifest.files) != manifest.digest:
        problems.append(f"{MANIFEST}: the file list does not match its own digest")
    if manifest.expected_seal() != manifest.seal:
        problems.append(f"{MANIFEST}: its fields do not match its seal")
    if problems:
        raise DataError(f"{folder} was altered after it was written", problems=problems, remedy="delete the folder and run the step again")
    return Artifact(folder, manifest)


def parse_manifest(data: bytes, place: str) -> Manifest:
    """The manifest of the artifact at ``place`` as it was written; its seal is not checked.

    Raises:
        DataError: it is damaged.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{place}/{MANIFEST} is damaged: {error.error_count()} invalid fields", remedy="run the step again") from None


def _problem(folder: Path, entry: FileEntry) -> str:
    path = folder / entry.path
    if not path.is_file():
        return f"{entry.path}: missing"
    if path.stat().st_size != entry.size_bytes:
        return f"{entry.path}: {path.stat().st_size} bytes, the manifest says {entry.size_bytes}"
    return "" if sha256_file(path) == entry.sha256 else f"{entry.path}: content does not match its SHA-256"


@contextlib.contextmanager
def disk_faults_explained(folder: Path) -> Iterator[None]:
    """Turns a full disk, a read-only place or a file in the way into an EnvironmentFault that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.ENOTDIR}:
            raise EnvironmentFault(
                f"cannot write to {folder}: {error.strerror}",
                remedy="free some space or choose another place (store.* in the configuration); finished steps are kept",
            ) from error
        raise


def commit_artifact(target: Path, kind: str, write: Callable[[Path], Mapping[str, Any]]) -> Artifact:
    """Makes ``target`` a committed artifact; afterwards it is whole or it is not there.

    Args:
        target: where the folder will be; when it is already there, the existing artifact is verified and returned.
        kind: the artifact's kind.
        write: fills the given empty folder and returns further manifest fields (inputs, code, config, seed, result).
    """
    if (target / MANIFEST).is_file():
        return open_artifact(target, kind)
    with disk_faults_explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
        try:
            fields = write(aside)
            files = _synced_entries(aside)
            manifest = Manifest(kind=kind, digest=content_digest(kind, files), files=files, **fields).sealed()
            _write_synced(aside / MANIFEST, manifest.model_dump_json(indent=1).encode())
            _rename_into_place(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return open_artifact(target, kind)


def _synced_entries(folder: Path) -> tuple[FileEntry, ...]:
    (folder / MANIFEST).unlink(missing_ok=True)  # that of an artifact that was copied into this one
    entries = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        entries.append(FileEntry(path=path.relative_to(folder).as_posix(), size_bytes=path.stat().st_size, sha256=sha256_file(path)))
    return tuple(entries)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _rename_into_place(aside: Path, target: Path) -> None:
    aside.chmod(0o755)
    for folder in (*(path for path in aside.rglob("*") if path.is_dir()), aside):
        _sync_folder(folder)
    try:
        aside.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        # Somebody committed the same key first: theirs counts, ours is dropped.
        if not (target / MANIFEST).is_file():
            raise DataError(f"{target} is in the way: it has no {MANIFEST}", remedy="delete it and run the step again") from None
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Writes a single file atomically: the old content or the new one, never a part."""
    with disk_faults_explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # process ids repeat across containers, and threads share one
        try:
            _write_synced(aside, data)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def materialise(artifact: Artifact, output: Path) -> None:
    """Puts a committed artifact at ``output``, the manifest last: hard links where the file system allows, else copies."""
    shutil.rmtree(output, ignore_errors=True)
    with disk_faults_explained(output):
        output.mkdir(parents=True, exist_ok=True)
        for name in (*(entry.path for entry in artifact.manifest.files), MANIFEST):
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(artifact.folder / name, output / name)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
