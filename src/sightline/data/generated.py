"""`generated://surfaces`: images that are made where they are needed, the same bytes everywhere, so that a first run needs no data."""

import re
import threading
from pathlib import Path

from sightline.errors import UsageError
from sightline.store.digest import sha256_bytes

_FIELDS = {"lots": 60, "images": 40, "seed": 7}
_FIELD = re.compile(r"([a-z]+)=(\d{1,6})")

# Images are read by several threads, and in a new pod each of them finds the folder empty.
_MAKING = threading.Lock()


def generated_folder(uri: str) -> Path:
    """A folder with the generated images, made when it is not there yet (2 400 images take about 4 s on two cores).

    Args:
        uri: ``generated://surfaces`` or ``generated://surfaces;lots=20;images=12;seed=7``.

    Raises:
        UsageError: another name, an unknown field or a value out of range.
    """
    from sightline.data.synthetic import generate

    lots, images_per_lot, seed = _parsed(uri)
    folder = Path.home() / ".cache" / "sightline" / "generated" / sha256_bytes(f"{lots},{images_per_lot},{seed}".encode())[:16]
    with _MAKING:
        generate(folder, lots=range(lots), images_per_lot=images_per_lot, seed=seed)
    return folder


def split_location(location: str) -> tuple[str, str]:
    """The source and the path of ``generated://surfaces…/class/file.jpg``."""
    authority, _, path = location.removeprefix("generated://").partition("/")
    return f"generated://{authority}", path


def _parsed(uri: str) -> tuple[int, int, int]:
    name, *fields = uri.removeprefix("generated://").rstrip("/").split(";")
    matches = [_FIELD.fullmatch(field) for field in fields]
    if name != "surfaces" or not all(match and match[1] in _FIELDS for match in matches):
        known = ";".join(f"{key}={value}" for key, value in _FIELDS.items())
        raise UsageError(
            f"there are no generated images called '{uri}'", remedy=f"use generated://surfaces or generated://surfaces;{known}"
        )
    values = _FIELDS | {match[1]: int(match[2]) for match in matches if match}
    return values["lots"], values["images"], values["seed"]
