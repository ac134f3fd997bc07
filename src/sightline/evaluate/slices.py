"""Slices: named subsets of a split by attribute value and by true class."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sightline.data.version import Split

BoolArray = npt.NDArray[np.bool_]


def slice_masks(split: Split, classes: Sequence[str]) -> dict[str, BoolArray]:
    """A mask over the split's images per slice, sorted by name.

    Args:
        split: the images; its attributes are strings.
        classes: class names in label order.

    Returns:
        ``attribute=value`` for every value that occurs and ``class=<name>`` for every class; a class without images
        has an empty slice. Missing values (empty, "nan", "None") make no slice.
    """
    masks = {f"class={name}": split.labels_N == index for index, name in enumerate(classes)}
    for attribute in split.attributes.columns:
        values = split.attributes[attribute].to_numpy(dtype=str)
        masks |= {f"{attribute}={value}": values == value for value in np.unique(values) if value not in {"", "nan", "None", "<NA>"}}
    return dict(sorted(masks.items()))


def near_matches(name: str, known: Collection[str]) -> list[str]:
    """At most five known names that look like ``name``, best first; for ``attribute=value`` also the other values of the attribute."""
    close = difflib.get_close_matches(name, list(known), n=5, cutoff=0.6)
    siblings = [other for other in sorted(known) if "=" in name and other.split("=", 1)[0] == name.split("=", 1)[0]]
    return list(dict.fromkeys([*close, *siblings]))[:5]
