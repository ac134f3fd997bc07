"""Reads image files once: bytes, digest, pixels at the model's size, difference hash. Threads, since decoding releases the interpreter."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sightline.data.duplicates import Hashes, difference_hash
from sightline.data.readers import Source
from sightline.data.trees import Refusal, Tree
from sightline.errors import DataError
from sightline.images import ImageRefusedError, ImageU8, decode, format_of, resize
from sightline.store.digest import sha256_bytes, sha256_file, sha256_value

# Bytes that are kept between hashing and decoding; files beyond are read again and compared with their digest.
_KEPT_BYTES = 256_000_000
# No format that is decoded needs more per pixel (16 bits, four channels).
_BYTES_PER_PIXEL = 8
_REPORT_S = 0.5

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Contents:
    """The digests of files, and as much of their bytes as is kept.

    Attributes:
        tree: where the files are.
        digests: path to SHA-256 of the bytes.
        refusals: files that could not be read.
    """

    tree: Tree
    digests: Mapping[str, str]
    refusals: tuple[Refusal, ...]
    kept: Mapping[str, bytes]
    max_bytes: int

    def bytes_of(self, path: str) -> bytes:
        """The content of a file; ImageRefusedError when it is no longer what was hashed."""
        if path in self.kept:
            return self.kept[path]
        data = self.tree.read(path, self.max_bytes)
        if sha256_bytes(data) != self.digests[path]:
            raise ImageRefusedError("changed", "the file changed while it was read")
        return data


@dataclass(frozen=True)
class Decoded:
    """Images that could be decoded.

    Attributes:
        paths: their files, in the order asked for.
        pixels_NHWC: uint8 RGB at the size the model sees.
        hashes: (N, 4), uint64: difference hashes.
        formats: JPEG, PNG, …
        sizes: width and height of each file's image.
        num_bytes: size of each file.
        refusals: the files that are not among ``paths``, and why.
    """

    paths: tuple[str, ...]
    pixels_NHWC: npt.NDArray[np.uint8]
    hashes: Hashes
    formats: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    num_bytes: tuple[int, ...]
    refusals: tuple[Refusal, ...]


def read_contents(tree: Tree, paths: Sequence[str], *, max_pixels: int) -> Contents:
    """The digests of files; only those are read whose digest is not known.

    Args:
        tree: where the files are.
        paths: which of them.
        max_pixels: largest image that is decoded; far larger files are refused unread.
    """
    max_bytes = max_pixels * _BYTES_PER_PIXEL
    known = tree.known_digests()
    digests = {path: known[path] for path in paths if path in known}
    kept: dict[str, bytes] = {}
    refusals: list[Refusal] = []
    room = _KEPT_BYTES

    def read(path: str) -> tuple[bytes, str] | Refusal:
        try:
            data = tree.read(path, max_bytes)
        except ImageRefusedError as error:
            return Refusal(path, error.reason, error.detail)
        return data, sha256_bytes(data)

    for path, result in _in_order(read, [path for path in paths if path not in known], tree.num_threads):
        if isinstance(result, Refusal):
            refusals.append(result)
            continue
        data, digests[path] = result
        if len(data) <= room:
            kept[path] = data
            room -= len(data)
    tree.remember(digests)
    return Contents(tree, digests, tuple(refusals), kept, max_bytes)


def digest_of(source: Source, contents: Contents) -> str:
    """The digest of the images' names and bytes and of the attribute table: what ``ingest.pin`` names."""
    return sha256_value([sorted(contents.digests.items()), sha256_file(source.table) if source.table else ""])


def decode_all(
    contents: Contents,
    paths: Sequence[str],
    *,
    size_px: int,
    max_pixels: int,
    scratch: Path,
    report: Callable[[str], None],
) -> Decoded:
    """Decodes files strictly, resizes and hashes them.

    Args:
        contents: the files.
        paths: which of them.
        size_px: edge of the packed pixels.
        max_pixels: largest image that is decoded.
        scratch: file that the packed pixels are written to, so that memory stays flat; the caller deletes it.
        report: is told about progress twice a second.

    Raises:
        DataError: none of the files can be used.
    """

    def look(path: str) -> tuple[ImageU8, Hashes, str, tuple[int, int], int] | Refusal:
        try:
            data = contents.bytes_of(path)
            image = decode(data, max_pixels=max_pixels)
        except ImageRefusedError as error:
            return Refusal(path, error.reason, error.detail)
        return resize(image, size_px), difference_hash(image), format_of(data), (image.shape[1], image.shape[0]), len(data)

    pixels = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=(max(1, len(paths)), size_px, size_px, 3))
    used: list[tuple[str, Hashes, str, tuple[int, int], int]] = []
    refusals: list[Refusal] = []
    reported = time.monotonic()
    for number, (path, result) in enumerate(_in_order(look, paths, contents.tree.num_threads), start=1):
        if isinstance(result, Refusal):
            refusals.append(result)
        else:
            pixels[len(used)] = result[0]
            used.append((path, *result[1:]))
        if time.monotonic() - reported >= _REPORT_S:
            reported = time.monotonic()
            report(f"{number}/{len(paths)} images · {len(refusals)} refused")
    if not used:
        raise DataError("no image can be used", problems=[f"{refusal.path}: {refusal.reason}, {refusal.detail}" for refusal in refusals])
    names, hashes, formats, sizes, num_bytes = zip(*used, strict=True)
    return Decoded(names, pixels[: len(used)], np.stack(hashes), formats, sizes, num_bytes, tuple(refusals))


def _in_order(work: Callable[[_Item], _Result], items: Sequence[_Item], num_threads: int) -> Iterator[tuple[_Item, _Result]]:
    """Results in the order of the items; at most a few hundred wait in memory."""
    chunk = 64 * num_threads

    def work_on(part: Sequence[_Item]) -> list[_Result]:
        return [work(item) for item in part]

    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(items), chunk):
            parts = [items[start + offset : min(start + chunk, len(items)) : num_threads] for offset in range(num_threads)]
            results = list(pool.map(work_on, parts))
            for index in range(min(chunk, len(items) - start)):
                yield items[start + index], results[index % num_threads][index // num_threads]
