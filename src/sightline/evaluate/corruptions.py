"""Corrupted copies of images: what cameras, lamps and networks do to them, at three strengths."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.config.gate import Corruption

Images = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

# Per corruption: the strength at severities 1, 2 and 3, and how it is said. Lengths are shares of the image's shorter edge, so that a
# model of another input size meets the same blur, crop and square.
STRENGTHS: dict[str, tuple[tuple[float, float, float], str]] = {
    "blur": ((0.0075, 0.015, 0.03), "sigma {:.3g} % of the edge"),
    "noise": ((0.04, 0.08, 0.16), "sigma {:.3g} % of full scale"),
    "dark": ((0.7, 0.5, 0.3), "brightness at {:.3g} %"),
    "bright": ((1.3, 1.6, 2.0), "brightness at {:.3g} %"),
    "jpeg": ((0.4, 0.2, 0.1), "quality {:.3g}"),
    "crop": ((0.9, 0.8, 0.7), "{:.3g} % of the edge kept"),
    "occlusion": ((0.15, 0.25, 0.35), "grey square of {:.3g} % of the edge"),
}
_GREY = 128


def describe(name: Corruption, severity: int) -> str:
    """The corruption with its strength in words, e.g. "blur (sigma 1.5 % of the edge)"."""
    return f"{name} ({STRENGTHS[name][1].format(100 * _strength(name, severity))})"


def corrupt(images_NHWC: Images, name: Corruption, severity: int, sample_ids: Sequence[str]) -> Images:
    """Corrupted copies; what happens to an image depends on its sample id, not on its place among the others.

    One core corrupts 400 images of 64 px in at most 0.2 s and of 224 px in at most 1.3 s (blur is the slowest).

    Args:
        images_NHWC: RGB, at least 2 px wide and high; may be memory-mapped; 0 images give 0 images.
        name: blur, noise, dark, bright, jpeg, crop (cut out and resize back) or occlusion (a grey square); see ``STRENGTHS``.
        severity: 1 mild, 2 clear, 3 strong. Places and noise patterns are the same at all three.
        sample_ids: one per image.

    Raises:
        UsageError: an unknown corruption or severity, or not one sample id per image.
    """
    strength = _strength(name, severity)
    if len(sample_ids) != len(images_NHWC):
        raise UsageError(f"{len(images_NHWC)} images came with {len(sample_ids)} sample ids", remedy="give one sample id per image")
    if name in {"dark", "bright"}:
        table = np.clip(np.rint(np.arange(256) * strength), 0, 255).astype(np.uint8)
        brighter: Images = table[images_NHWC]
        return brighter
    change = _CHANGES[name]
    corrupted = np.empty(images_NHWC.shape, dtype=np.uint8)
    for row, sample_id in enumerate(sample_ids):
        corrupted[row] = change(images_NHWC[row], strength, _seed(name, sample_id))
    return corrupted


def chosen_rows(sample_ids: Sequence[str], num: int, clusters_N: npt.NDArray[np.int64] | None = None) -> Ints:
    """The rows of ``num`` images, those whose digest of the sample id comes first, in ascending order; all rows when there are fewer.

    The same images are chosen in any order of the split, and more of them keep the earlier ones.

    Args:
        sample_ids: all images.
        num: how many; 0 chooses none.
        clusters_N: the cluster of each image; then at most one image of a cluster is chosen, so that the chosen ones are independent.
    """
    digests = [hashlib.sha256(f"chosen:{sample_id}".encode()).digest() for sample_id in sample_ids]
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
    if clusters_N is not None and len(order):
        order = order[np.sort(np.unique(clusters_N[order], return_index=True)[1])]
    return np.sort(order[: max(num, 0)])


def _strength(name: str, severity: int) -> float:
    if name not in STRENGTHS:
        raise UsageError(f"there is no corruption '{name}'", remedy=f"use one of {', '.join(STRENGTHS)}")
    if severity not in {1, 2, 3}:
        raise UsageError(f"severity is {severity}, expected 1, 2 or 3")
    return STRENGTHS[name][0][severity - 1]


def _seed(name: str, sample_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}:{sample_id}".encode()).digest()[:8], "big")


def _blur(image: Images, strength: float, _: int) -> Images:
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(strength * min(image.shape[:2]))), dtype=np.uint8)


def _noise(image: Images, strength: float, seed: int) -> Images:
    noise = np.random.Generator(np.random.SFC64(seed)).standard_normal(image.shape, dtype=np.float32)
    noise *= 255 * strength
    noise += image
    return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)


def _jpeg(image: Images, strength: float, _: int) -> Images:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=round(100 * strength))
    with Image.open(file) as decoded:
        return np.asarray(decoded, dtype=np.uint8)


def _crop(image: Images, strength: float, seed: int) -> Images:
    from PIL import Image

    height, width = image.shape[:2]
    top, left = _place(image, strength, seed)
    box = (left, top, left + strength * width, top + strength * height)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=box), dtype=np.uint8)


def _occlusion(image: Images, strength: float, seed: int) -> Images:
    edge = max(1, round(strength * min(image.shape[:2])))
    top, left = (round(start) for start in _place(image, strength, seed))
    covered = image.copy()
    covered[top : top + edge, left : left + edge] = _GREY
    return covered


def _place(image: Images, strength: float, seed: int) -> tuple[float, float]:
    """Top and left of a window of ``strength`` times the image that lies inside it, in pixels."""
    down, right = np.random.Generator(np.random.SFC64(seed)).random(2)
    return float(down * (1 - strength) * image.shape[0]), float(right * (1 - strength) * image.shape[1])


_CHANGES: dict[str, Callable[[Images, float, int], Images]] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "crop": _crop,
    "occlusion": _occlusion,
}
