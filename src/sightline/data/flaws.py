"""Plants what real folders have: damaged files, exact copies, near copies, contradicting labels."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def plant(root: Path, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Writes the flawed files next to the good ones of the first lots; the same files for the same images.

    Args:
        root: the data folder.
        rows: the table rows of the images of some lots; their files exist. Near copies are filed in the second lot when there is one.

    Returns:
        One table row per planted file: five damaged (truncated twice, empty, text, a PNG bomb), two exact copies, one exact copy in
        another class, three near copies.
    """
    first = [row for row in rows if row["lot"] == rows[0]["lot"]]
    other = next((row for row in rows if row["lot"] != rows[0]["lot"]), rows[0])
    sources = [(root / row["file"]).read_bytes() for row in first]
    planted = []

    def add(row: Mapping[str, str], name: str, data: bytes, folder: str = "") -> None:
        target = f"{folder or row['file'].split('/')[0]}/{row['lot']}-{name}"
        if not (root / target).exists():
            (root / target).write_bytes(data)
        planted.append({**row, "file": target})

    number = len(first)
    add(first[0], "flaw-truncated-1.jpg", sources[0][: len(sources[0]) // 2])
    add(first[1 % number], "flaw-truncated-2.jpg", sources[1 % number][: len(sources[1 % number]) * 9 // 10])
    add(first[2 % number], "flaw-empty.jpg", b"")
    add(first[3 % number], "flaw-text.jpg", b"This is not an image.\n")
    add(first[4 % number], "flaw-bomb.png", bomb_png())
    add(first[5 % number], "flaw-copy-1.jpg", sources[5 % number])
    add(first[6 % number], "flaw-copy-2.jpg", sources[6 % number])
    contradicted = first[7 % number]
    add(contradicted, "flaw-contradicted.jpg", sources[7 % number], folder=_other_class(contradicted["file"].split("/")[0]))
    for offset in (8, 9, 10):
        near = {**other, "file": first[offset % number]["file"]}
        add(near, f"flaw-near-{offset - 7}.jpg", near_copy(sources[offset % number], gain=1.02 + 0.01 * (offset - 8)))
    return planted


def near_copy(data: bytes, *, gain: float) -> bytes:
    """The image of a JPEG, brightened by ``gain`` and encoded again at quality 80."""
    import simplejpeg

    pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
    brightened = np.clip(pixels.astype(np.float32) * gain, 0, 255).astype(np.uint8)
    encoded: bytes = simplejpeg.encode_jpeg(brightened, quality=80)
    return encoded


def bomb_png(width: int = 20_000, height: int = 20_000) -> bytes:
    """A PNG of some kilobytes whose header promises ``width`` × ``height`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(4_000_000), 9)) + chunk(b"IEND", b"")


def _other_class(class_name: str) -> str:
    return "stain" if class_name != "stain" else "good"
