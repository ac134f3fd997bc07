"""Slices: named subsets of a split by attribute value, by true class, by two of these at once, and by image property."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from sightline.config.gate import ImageProperty
    from sightline.data.version import Split

BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

CROSS = " & "
PROPERTY_PREFIX = "image."
_MISSING = ("", "nan", "None", "<NA>")
_ENDS = {"brightness": ("low", "high"), "sharpness": ("low", "high"), "size": ("small", "large")}
# A third is aimed at; where many images share a value, an end may hold up to half of them, and is no slice when it would hold more.
_AIM, _MOST = 1 / 3, 1 / 2
_BLOCK_BYTES = 2**22


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
    return dict(sorted((masks | attribute_masks(split.attributes)).items()))


def attribute_masks(attributes: pd.DataFrame) -> dict[str, BoolArray]:
    """A mask over the rows per ``attribute=value`` that occurs, sorted by name; missing values (empty, "nan", "None") make no slice."""
    masks: dict[str, BoolArray] = {}
    for attribute in attributes.columns:
        values = attributes[attribute].to_numpy(dtype=str)
        masks |= {f"{attribute}={value}": values == value for value in np.unique(values) if value not in _MISSING}
    return dict(sorted(masks.items()))


def cross_masks(attributes: pd.DataFrame, min_images: int, class_names: Sequence[str] | None = None) -> dict[str, BoolArray]:
    """A mask per pair of values of two different attributes, e.g. "light=night & material=brass", sorted by name.

    Only crosses that occur are looked at, so attributes of many values cost no more than their images: at most N / ``min_images`` crosses
    per pair of attributes.

    Args:
        attributes: one string column per declared attribute.
        min_images: smaller crosses are left out.
        class_names: the true class of each row, which is then crossed with the attributes as "class=<name>"; None: no class crosses.

    Returns:
        Crosses with at least ``min_images`` images. A cross with the same images as one of its two values says nothing new and is left out.
        The two parts of a name are sorted.
    """
    columns = {str(name): attributes[name].to_numpy(dtype=str) for name in attributes.columns}
    if class_names is not None:
        columns["class"] = np.asarray(class_names, dtype=str)
    coded = {name: np.unique(values, return_inverse=True) for name, values in sorted(columns.items())}
    masks: dict[str, BoolArray] = {}
    for one, other in itertools.combinations(coded, 2):
        masks |= _crosses((one, *coded[one]), (other, *coded[other]), max(min_images, 1))
    return dict(sorted(masks.items()))


_Coded = tuple[str, npt.NDArray[np.str_], npt.NDArray[np.intp]]


def _crosses(one: _Coded, other: _Coded, min_images: int) -> dict[str, BoolArray]:
    (first, values_a, codes_a), (second, values_b, codes_b) = one, other
    both = codes_a * len(values_b) + codes_b
    counts_a, counts_b = np.bincount(codes_a), np.bincount(codes_b)
    masks = {}
    for code, count in zip(*np.unique(both, return_counts=True), strict=True):
        a, b = divmod(int(code), len(values_b))
        missing = values_a[a] in _MISSING or values_b[b] in _MISSING
        if count >= min_images and not missing and count not in {counts_a[a], counts_b[b]}:
            masks[f"{first}={values_a[a]}{CROSS}{second}={values_b[b]}"] = both == code
    return masks


def image_values(
    pixels_NHWC: npt.NDArray[np.uint8], sizes: npt.NDArray[np.generic] | None, names: Collection[ImageProperty]
) -> dict[str, Floats]:
    """The properties of each image by slice name, e.g. "image.brightness".

    Args:
        pixels_NHWC: RGB at the size the model sees; may be memory-mapped, it is read in blocks of 4 MB. 1 000 images of 64 px take 0.05 s.
        sizes: pixels (width times height) of each image's file; None: no "image.size".
        names: what is wanted.

    Returns:
        ``brightness`` and ``sharpness`` as ``images.image_properties`` defines them, in [0, 1] or close to it; ``size`` in pixels.
    """
    values: dict[str, Floats] = {}
    if {"brightness", "sharpness"} & set(names):
        per_block = max(1, _BLOCK_BYTES // max(1, int(np.prod(pixels_NHWC.shape[1:]))))
        parts = [_light_and_edges(pixels_NHWC[start : start + per_block]) for start in range(0, len(pixels_NHWC), per_block)]
        both = np.concatenate([np.zeros((2, 0)), *parts], axis=1)
        values = {"brightness": both[0], "sharpness": both[1]}
    if sizes is not None:
        values["size"] = np.asarray(sizes, dtype=np.float64)
    return {f"{PROPERTY_PREFIX}{name}": values[name] for name in sorted(set(names)) if name in values}


def _light_and_edges(pixels_NHWC: npt.NDArray[np.uint8]) -> Floats:
    """Mean grey value and mean absolute Laplacian in [0, 1], shape (2, images), from sums of whole numbers."""
    # Three times the grey value fits 16 bits, four times that (the Laplacian, at most 3 060) too.
    grey = pixels_NHWC[..., 0].astype(np.int16)
    grey += pixels_NHWC[..., 1]
    grey += pixels_NHWC[..., 2]
    brightness = grey.mean(axis=(1, 2), dtype=np.float64)
    if min(grey.shape[1:]) < 3:
        return np.stack([brightness, np.zeros(len(grey))]) / 765.0
    edges = 4 * grey[:, 1:-1, 1:-1]
    for neighbour in (grey[:, :-2, 1:-1], grey[:, 2:, 1:-1], grey[:, 1:-1, :-2], grey[:, 1:-1, 2:]):
        edges -= neighbour
    return np.stack([brightness, np.abs(edges, out=edges).mean(axis=(1, 2), dtype=np.float64)]) / 765.0


def end_masks(values: Mapping[str, Floats]) -> dict[str, BoolArray]:
    """Masks of the lowest and highest third by each named value, sorted by name.

    Images that share a value stay together, so an end holds the share nearest to a third that the values allow, at most half of the
    images. A constant property makes no slice. Values that are not finite (unknown) belong to no end.
    """
    masks: dict[str, BoolArray] = {}
    for name, values_N in values.items():
        low, high = _ENDS.get(name.removeprefix(PROPERTY_PREFIX), ("low", "high"))
        for end, sign in ((low, 1.0), (high, -1.0)):
            mask = _lowest_third(sign * values_N)
            if mask.any():
                masks[f"{name}={end}"] = mask
    return dict(sorted(masks.items()))


def _lowest_third(values_N: Floats) -> BoolArray:
    known = np.isfinite(values_N)
    distinct, counts = np.unique(values_N[known], return_counts=True)
    shares = np.cumsum(counts) / max(int(known.sum()), 1)
    allowed = np.flatnonzero(shares <= _MOST)
    if not len(allowed):
        return np.zeros(len(values_N), dtype=np.bool_)
    cut = distinct[allowed[np.abs(shares[allowed] - _AIM).argmin()]]
    mask: BoolArray = known & (values_N <= cut)
    return mask


def near_matches(name: str, known: Collection[str]) -> list[str]:
    """At most five known names that look like ``name``, best first; for ``attribute=value`` also the other values of the attribute."""
    close = difflib.get_close_matches(name, list(known), n=5, cutoff=0.6)
    siblings = [other for other in sorted(known) if "=" in name and other.split("=", 1)[0] == name.split("=", 1)[0]]
    return list(dict.fromkeys([*close, *siblings]))[:5]
