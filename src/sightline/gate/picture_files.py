"""The golden images' files, where predictions alone are compared: for pictures and image properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from sightline.config.gate import ImageProperty
from sightline.errors import DataError
from sightline.evaluate.slices import image_values
from sightline.images import FORMATS, ImageRefusedError, ImageU8, decode, resize

Floats = npt.NDArray[np.float64]

# Brightness and sharpness of the image as a whole; small, so that a thousand photographs take seconds.
_EDGE_PX = 96
# A folder may hold other files beside its images: labels, masks' descriptions, checksums.
_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class PictureFiles:
    """One readable file per golden image."""

    paths: tuple[Path, ...]

    @classmethod
    def find(cls, folder: Path, names: Sequence[str]) -> PictureFiles:
        """The file of each image, by its name below ``folder``, or by its name with the ending of another image format.

        Raises:
            DataError: an image has no file, leads out of the folder, or could be one of several files.
        """
        root = folder.resolve()
        files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
        by_stem: dict[str, list[Path]] = {}
        for inside, path in files.items():
            if path.suffix.lower() in _ENDINGS:
                by_stem.setdefault(_stem(inside), []).append(path)
        found, problems = [], []
        for name in names:
            # Looked up among the files that are there: a name never becomes a path, wherever it would lead.
            known = files.get(PurePosixPath(name).as_posix())
            paths = [known] if known else by_stem.get(_stem(name), [])
            if len(paths) == 1 and paths[0].resolve().is_relative_to(root):
                found.append(paths[0])
            else:
                several = f": it could be {', '.join(path.name for path in paths)}" if len(paths) > 1 else ""
                problems.append(f"no image {name}{several}")
        if problems:
            raise DataError(
                f"{folder} lacks {len(problems)} golden images", problems=problems[:20], remedy="give the folder that holds all of them"
            )
        return cls(tuple(found))

    def read(self, row: int) -> ImageU8:
        """The image of one row, RGB.

        Raises:
            DataError: the file cannot be used.
        """
        try:
            return decode(self.paths[row].read_bytes())
        except ImageRefusedError as error:
            raise DataError(f"{self.paths[row]} cannot be used: {error}", remedy=f"restore it; formats: {', '.join(FORMATS)}") from None

    def values(self, names: Sequence[ImageProperty]) -> dict[str, Floats]:
        """The properties of each image, see ``evaluate.slices.image_values``; one image at a time is in memory."""
        if not names:
            return {}
        small, sizes = np.zeros((len(self.paths), _EDGE_PX, _EDGE_PX, 3), dtype=np.uint8), np.zeros(len(self.paths))
        for row in range(len(self.paths)):
            image = self.read(row)
            small[row], sizes[row] = resize(image, _EDGE_PX), image.shape[0] * image.shape[1]
        return image_values(small, sizes, names)


def _stem(name: str) -> str:
    """The name without its ending; one without a file name, such as "..", stays as it is."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.name else name
