"""A folder of segmentation masks: one PNG of class indices per image."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError

MaskU8 = npt.NDArray[np.uint8]

IGNORE = 255
"""Pixels of this value in the truth are not judged."""

MAX_BYTES = 50_000_000
"""A mask file may not be larger: class indices compress well, so a larger one is no mask."""

_GREY, _PALETTE = 0, 3
_REMEDY = "write one 8-bit grey or palette PNG of class indices per image, named like the image, 255 where the truth is unknown"


class MaskRefusedError(Exception):
    """A mask that must not be used; the message says which and why."""


@dataclass(frozen=True)
class MaskFolder:
    """Masks that exist for every image, none more; nothing is decoded yet.

    Attributes:
        folder: where they are.
        names: the images, in the order that was asked for.
        paths: the mask of each image.
        num_classes: class indices are 0..num_classes - 1, besides ``IGNORE``.
    """

    folder: Path
    names: tuple[str, ...]
    paths: Mapping[str, Path]
    num_classes: int

    def read(self, name: str, *, max_pixels: int = 50_000_000) -> MaskU8:
        """The mask of an image, shape (height, width): class indices and ``IGNORE``.

        Size and format are read from the header before any pixel is decoded.

        Raises:
            MaskRefusedError: the file is no such PNG, is too large, or has a class index that does not exist.
        """
        path = self.paths[name]
        num_bytes = path.stat().st_size
        if num_bytes > MAX_BYTES:
            raise MaskRefusedError(f"{path}: {num_bytes} bytes, at most {MAX_BYTES}")
        mask = _decode(path, path.read_bytes(), max_pixels)
        unknown = np.unique(mask[(mask >= self.num_classes) & (mask != IGNORE)])
        if len(unknown):
            shown = ", ".join(map(str, unknown[:5]))
            raise MaskRefusedError(f"{path}: class indices {shown} do not exist, there are {self.num_classes} classes from 0")
        return mask


def open_masks(folder: Path, names: Sequence[str], num_classes: int) -> MaskFolder:
    """The masks of the images ``names``, after it was checked that each has one and that there is no other.

    Args:
        folder: holds ``<name without its ending>.png`` for every image, in the same sub-folders.
        names: relative image locations with "/".
        num_classes: classes, 1 to 255.

    Raises:
        DataError: a mask is missing, belongs to no image, or to two.
    """
    if not 1 <= num_classes <= IGNORE:
        raise DataError(f"{num_classes} classes, masks can hold 1 to {IGNORE}")
    wanted: dict[str, str] = {}
    problems = []
    for name in names:
        file = str(PurePosixPath(name).with_suffix(".png"))
        if file in wanted:
            problems.append(f"{file} would belong to both {wanted[file]} and {name}")
        elif PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            problems.append(f"{name} leads out of the folder")
        wanted[file] = name
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    problems += [f"no mask {file} for {name}" for file, name in wanted.items() if file not in found]
    problems += [f"{file} belongs to no image" for file in found if file not in wanted]
    if problems:
        raise DataError(f"the masks in {folder} do not belong to the images one to one", problems=problems, remedy=_REMEDY)
    return MaskFolder(folder, tuple(names), {name: found[file] for file, name in wanted.items()}, num_classes)


def _decode(path: Path, data: bytes, max_pixels: int) -> MaskU8:
    from PIL import Image

    depth, colour = _header(path, data)
    if colour not in {_GREY, _PALETTE}:
        raise MaskRefusedError(f"{path}: a colour PNG, expected class indices (8-bit grey or palette)")
    # Pillow stretches grey of 2 and 4 bits to 0..255, which would turn class 1 into class 85 or 17.
    if depth != 8 and colour == _GREY:
        raise MaskRefusedError(f"{path}: {depth}-bit grey, expected 8-bit grey or a palette")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG",))
        with image:
            if image.width * image.height > max_pixels:
                raise MaskRefusedError(f"{path}: {image.width}×{image.height} pixels, at most {max_pixels} are decoded")
            image.load()
            return np.array(image, dtype=np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MaskRefusedError(f"{path}: more than {max_pixels} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise MaskRefusedError(f"{path}: {error}") from None


def _header(path: Path, data: bytes) -> tuple[int, int]:
    """Bit depth and colour type of a PNG."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 26:
        raise MaskRefusedError(f"{path}: {'empty' if not data else 'not a PNG'}")
    return data[24], data[25]
