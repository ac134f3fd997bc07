"""All slices of a golden split, the same for the gate that judges them and for the plan that says what they can show."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np
import numpy.typing as npt

from sightline.config.gate import GateConfig, ImageProperty
from sightline.evaluate.slices import (
    CROSS,
    PROPERTY_PREFIX,
    BoolArray,
    Floats,
    attribute_masks,
    cross_masks,
    end_masks,
    image_values,
    slice_masks,
)

if TYPE_CHECKING:
    import pandas as pd

    from sightline.data.version import DatasetVersion, Split


def golden_rows(version: DatasetVersion) -> pd.DataFrame:
    """The rows of ``samples`` of the golden images, in the order of the golden split, indexed by sample id."""
    samples = version.samples
    return samples[samples["split"] == "golden"].sort_values("sample_id").set_index("sample_id")


def group_indices(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """The index, from 0, of the group of related images that each row belongs to, shape (rows,)."""
    return np.unique(rows["group_id"].astype(str), return_inverse=True)[1].astype(np.int64)


def golden_masks(split: Split, rows: pd.DataFrame, classes: Sequence[str], policy: GateConfig) -> dict[str, BoolArray]:
    """A mask over the golden images per slice: classes, attribute values, and, as the policy says, their crosses and image properties.

    A critical slice is always there with the images it has, also a cross that is smaller than ``min_slice_images`` or holds the same images
    as one of its two parts, and also when the policy asks for no crosses or not for that property. A critical slice that no golden image is
    in has an empty mask.

    Args:
        split: the golden images.
        rows: their rows of ``samples`` in the same order, see ``golden_rows``.
        classes: class names in label order.
        policy: ``slice_crosses``, ``min_slice_images``, ``property_slices`` and ``critical_slices`` are used.
    """
    masks = slice_masks(split, classes)
    declared = dict(masks)
    if policy.slice_crosses:
        masks |= cross_masks(split.attributes, policy.min_slice_images, [classes[label] for label in split.labels_N])
    masks |= end_masks(golden_values(split, rows, policy.property_slices))
    missing = [name for name in policy.critical_slices if name not in masks]
    wanted = [name for name in get_args(ImageProperty) if any(other.startswith(f"{PROPERTY_PREFIX}{name}=") for other in missing)]
    ends = end_masks(golden_values(split, rows, wanted)) if wanted else {}
    nothing = np.zeros(len(split), dtype=np.bool_)
    found = {name: ends[name] if name in ends else _cross(name, declared, nothing) for name in missing}
    return {name: (found | masks)[name] for name in policy.critical_slices} | masks


def golden_values(split: Split, rows: pd.DataFrame, names: Collection[ImageProperty]) -> dict[str, Floats]:
    """The named properties of each golden image by slice name, e.g. "image.brightness"; sizes are those of the files."""
    num_pixels = (rows["width"] * rows["height"]).to_numpy(dtype=np.float64)
    return image_values(split.pixels_NHWC, num_pixels, names)


def known_slices(samples: pd.DataFrame, attributes: Sequence[str], classes: Sequence[str]) -> set[str]:
    """The names that a critical slice may have: what any image of the dataset is in, golden or not, and the ends of all image properties.

    Args:
        samples: all rows of the dataset version.
        attributes: the declared attributes, without "slice_".
        classes: class names.
    """
    columns = {name: samples[f"slice_{name}"].astype(str) for name in attributes} | {"class": samples["class_name"].astype(str)}
    names = {f"class={name}" for name in classes}
    for attribute in attributes:
        names |= attribute_masks(columns[attribute].drop_duplicates().to_frame(attribute)).keys()
    names |= set(_known_crosses(columns, names))
    ends = {f"{PROPERTY_PREFIX}{name}": np.arange(3.0) for name in get_args(ImageProperty)}
    return names | end_masks(ends).keys()


def _known_crosses(columns: Mapping[str, pd.Series[str]], names: Collection[str]) -> Iterator[str]:
    for one, other in itertools.combinations(sorted(columns), 2):
        for a, b in sorted(set(zip(columns[one], columns[other], strict=True))):
            parts = f"{one}={a}", f"{other}={b}"
            if parts[0] in names and parts[1] in names:
                yield CROSS.join(parts)


def _cross(name: str, declared: Mapping[str, BoolArray], nothing: BoolArray) -> BoolArray:
    """The images in both parts of a cross; a value may itself contain the sign that joins them."""
    pieces = name.split(CROSS)
    for place in range(1, len(pieces)):
        one, other = CROSS.join(pieces[:place]), CROSS.join(pieces[place:])
        if one in declared and other in declared:
            both: BoolArray = declared[one] & declared[other]
            return both
    return nothing
