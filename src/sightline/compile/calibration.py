"""The images that INT8 is calibrated on: validation images, balanced over classes, never golden ones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from sightline.data.version import Split
from sightline.errors import DataError
from sightline.store.digest import sha256_bytes, sha256_value

# The activation ranges of fewer images than this say little about the next image.
MIN_IMAGES = 8


class CalibrationRecord(BaseModel):
    """``calibration.json``: which images the ranges came from.

    ``digest`` covers the sample ids and the pixels, in their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    split: str
    seed: int
    requested: int
    class_counts: dict[str, int]
    sample_ids: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Calibration:
    """The images, uint8 [N, H, W, 3], and the record of where they came from."""

    images_NHWC: npt.NDArray[np.uint8]
    record: CalibrationRecord


def choose_calibration(val: Split, golden: Split, classes: tuple[str, ...], *, num_images: int, seed: int) -> Calibration:
    """A random sample of the validation images with equal counts per class where the classes have enough.

    Images without any contrast calibrate nothing and are left out. When there are fewer images than asked, all are taken.

    Args:
        val: the validation split.
        golden: the golden split, which must not share an image with ``val``.
        classes: class names in label order.
        num_images: how many to take at most.
        seed: same seed and split, same sample.

    Raises:
        DataError: an image is golden too; pixels are not uint8 (a float may be NaN); fewer than eight images, or none of a class, have
            contrast.
    """
    shared = set(val.sample_ids) & set(golden.sample_ids)
    if shared:
        problems = [f"image {sample_id}" for sample_id in sorted(shared)]
        raise DataError("calibration images must not be golden, and validation shares some with golden", problems=problems)
    pixels = val.pixels_NHWC
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise DataError(f"calibration images must be uint8 [N, H, W, 3], came {pixels.dtype} {list(pixels.shape)}")
    usable_N = np.array([bool(image.max(initial=0) > image.min(initial=255)) for image in pixels], dtype=bool)
    counts = np.bincount(val.labels_N[usable_N], minlength=len(classes))
    problems = [f"class {name} has no validation image with any contrast" for name, count in zip(classes, counts, strict=True) if not count]
    if usable_N.sum() < MIN_IMAGES:
        problems.append(f"{usable_N.sum()} of {len(val)} validation images have contrast, at least {MIN_IMAGES} are needed")
    if problems:
        remedy = "add images, raise ingest.val_share or drop the int8 variants"
        raise DataError("INT8 cannot be calibrated", problems=problems, remedy=remedy)
    rows = _balanced(val.labels_N, np.flatnonzero(usable_N), num_images, seed)
    return Calibration(np.ascontiguousarray(pixels[rows]), _record(val, classes, rows, num_images, seed))


def _balanced(labels_N: npt.NDArray[np.int64], usable: npt.NDArray[np.intp], num_images: int, seed: int) -> npt.NDArray[np.intp]:
    """Takes one image of each class in turn, in a seeded random order, until there are enough; the rows come sorted."""
    shuffled = np.random.default_rng(seed).permutation(usable)
    turn = np.empty(len(shuffled), dtype=np.int64)
    for label in np.unique(labels_N):
        of_class = labels_N[shuffled] == label
        turn[of_class] = np.arange(of_class.sum())
    chosen: npt.NDArray[np.intp] = np.sort(shuffled[np.argsort(turn, kind="stable")[:num_images]])
    return chosen


def _record(val: Split, classes: tuple[str, ...], rows: npt.NDArray[np.intp], num_images: int, seed: int) -> CalibrationRecord:
    sample_ids = tuple(val.sample_ids[row] for row in rows)
    counts = np.bincount(val.labels_N[rows], minlength=len(classes))
    return CalibrationRecord(
        split=val.name,
        seed=seed,
        requested=num_images,
        class_counts={name: int(count) for name, count in zip(classes, counts, strict=True)},
        sample_ids=sample_ids,
        digest=sha256_value([list(sample_ids), sha256_bytes(np.ascontiguousarray(val.pixels_NHWC[rows]).tobytes())]),
    )
