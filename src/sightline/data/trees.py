"""Where images are: a folder, a bucket or generated ones, behind one interface."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sightline.errors import UsageError
from sightline.images import ImageRefusedError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_REMEDY = "set ingest.source to a folder with one sub-folder of images per class, or to s3://bucket/prefix"


@dataclass(frozen=True)
class Refusal:
    """A file that is not used.

    Attributes:
        path: relative to the source, with slashes.
        reason: a closed word; see ``sightline.ingest.step``.
        detail: what exactly, for a person.
    """

    path: str
    reason: str
    detail: str


class Tree(Protocol):
    """Files in one folder per class. Paths are relative, with slashes."""

    base: str
    """What a location begins with: ``<base>/<path>`` finds the file again from any process."""
    num_threads: int
    """Reads at a time that pay."""

    def paths(self, exclude: Sequence[str] = ()) -> tuple[list[tuple[str, str]], list[Refusal]]:
        """Pairs of path and class name in path order, and what is refused by its name or kind. Nothing is opened."""
        ...

    def read(self, path: str, max_bytes: int) -> bytes:
        """The bytes of a file; ImageRefusedError when it is gone, no regular file, larger than ``max_bytes`` or not readable."""
        ...

    def table(self, name: str) -> Path | None:
        """A local copy of the attribute table of that name, or None."""
        ...

    def known_digests(self) -> Mapping[str, str]:
        """Path to SHA-256 of files that are surely as they were when they were hashed; the others have to be read."""
        ...

    def remember(self, digests: Mapping[str, str]) -> None:
        """Keeps the digests for the next time, where that saves reading."""
        ...


def open_tree(source: str, *, notes: str = "") -> Tree:
    """The images at ``source``.

    Args:
        source: a folder, ``s3://bucket/prefix`` or ``generated://surfaces``.
        notes: a store (folder or ``s3://…``) that remembers the digests of unchanged objects; empty: none.

    Raises:
        UsageError: it is not set, not a folder, or of an unknown scheme.
    """
    if not source:
        raise UsageError("no data folder is given", remedy=_REMEDY)
    scheme, separator, _ = source.partition("://")
    if not separator:
        return FolderTree(_folder(source))
    if scheme == "s3":
        from sightline.data.bucket import BucketTree

        return BucketTree(source, notes=notes)
    if scheme == "generated":
        from sightline.data.generated import generated_folder

        return FolderTree(generated_folder(source), base=source.rstrip("/"))
    raise UsageError(f"cannot read images from '{source}'", remedy=_REMEDY)


def resolved_source(source: str) -> str:
    """The source as another process with another working directory has to be told it: folders absolute, the rest as it is."""
    return source if not source or "://" in source else str(Path(source).expanduser().resolve())


def _folder(source: str) -> Path:
    root = Path(source).expanduser().resolve()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UsageError(f"the data folder {source} {what}", remedy=_REMEDY)
    return root


class FolderTree:
    """See Tree. Links are not followed, hidden files are left out."""

    num_threads = 2  # decoding and hashing, not reading, is what takes time

    def __init__(self, root: Path, *, base: str = "") -> None:
        self.root = root
        self.base = base or str(root)

    def paths(self, exclude: Sequence[str] = ()) -> tuple[list[tuple[str, str]], list[Refusal]]:
        """See Tree."""
        skipped = {name.strip("/") for name in exclude}
        files: list[tuple[str, str]] = []
        refusals: list[Refusal] = []
        for entry in sorted(os.scandir(self.root), key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name in skipped or not entry.is_dir(follow_symlinks=False):
                continue
            for path, refusal in _walk(Path(entry.path), self.root, skipped):
                if refusal is None:
                    files.append((path, entry.name))
                else:
                    refusals.append(refusal)
        return sorted(files), sorted(refusals, key=lambda refusal: refusal.path)

    def read(self, path: str, max_bytes: int) -> bytes:
        """See Tree."""
        return read_regular(self.root / path, max_bytes)

    def table(self, name: str) -> Path | None:
        """See Tree."""
        path = self.root / name
        return path if path.is_file() else None

    def known_digests(self) -> Mapping[str, str]:
        """None: a file's time stamp proves nothing."""
        return {}

    def remember(self, digests: Mapping[str, str]) -> None:
        """Nothing to keep."""


def _walk(folder: Path, root: Path, skipped: set[str]) -> Iterator[tuple[str, Refusal | None]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path).relative_to(root).as_posix()
        if entry.name.startswith(".") or path in skipped:
            continue
        named_image = is_named_like_an_image(entry.name)
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and not named_image:
            yield from _walk(Path(entry.path), root, skipped)
            continue
        refusal = _kind_refusal(path, mode, named_image=named_image)
        yield (path.encode("utf-8", "backslashreplace").decode() if refusal else path), refusal


def is_named_like_an_image(name: str) -> bool:
    """Whether the name ends like that of a format that is decoded."""
    return Path(name).suffix.lower() in SUFFIXES


def not_an_image(path: str) -> Refusal:
    """The refusal of a file that is not named like an image."""
    return Refusal(path, "not-an-image", f"the name does not end in one of {', '.join(sorted(SUFFIXES))}")


def _kind_refusal(path: str, mode: int, *, named_image: bool) -> Refusal | None:
    shown = path.encode("utf-8", "backslashreplace").decode()
    if stat.S_ISLNK(mode):
        return Refusal(shown, "link", "symbolic links are not followed")
    if not stat.S_ISREG(mode):
        return Refusal(shown, "not-a-file", "a folder, pipe, socket or device")
    if shown != path:
        return Refusal(shown, "bad-name", "the name is not valid UTF-8")
    return None if named_image else not_an_image(path)


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        ImageRefusedError: it became a link or pipe in the meantime, cannot be read, or is larger than any image that is decoded.
    """
    try:
        # Neither a link nor a pipe that somebody puts here between listing and opening can be followed or block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ImageRefusedError("not-a-file", "a folder, pipe, socket or device")
            if state.st_size > max_bytes:
                raise ImageRefusedError("too-large", f"{state.st_size} bytes, at most {max_bytes} are read")
            return file.read(max_bytes)
    except OSError as error:
        raise ImageRefusedError("unreadable", str(error.strerror)) from None
