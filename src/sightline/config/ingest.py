"""What is read, how it is cleaned and how it is split."""

from typing import Literal

from pydantic import Field

from sightline.config.base import Section


class IngestConfig(Section):
    """Reading, checking and splitting images."""

    source: str = ""
    """Folder with one sub-folder of images per class, `s3://bucket/prefix`, or `generated://surfaces` for a try without data."""
    pin: str = ""
    """Digest of the images (`sightline data check` prints it); others are an error. Empty: whatever is there."""
    exclude: tuple[str, ...] = ()
    """Sub-folders of `source` that hold no class (masks, annotations)."""
    task: Literal["classification"] = "classification"
    """What the model predicts."""
    attributes: str = ""
    """CSV file (relative to `source`) with a `file` column and one column per attribute; empty: `attributes.csv` if it is there."""
    attributes_from_name: str = ""
    """Regular expression with named groups, searched in each file name; each group becomes an attribute."""
    group_by: tuple[str, ...] = ()
    """Attributes that together name a group (lot, patient, site); a group never spans two splits."""
    slices: tuple[str, ...] = ()
    """Attributes by whose values the gate judges; empty: every attribute with 2 to 12 values."""
    image_size_px: int = Field(64, ge=16, le=1024)
    """Edge of the square that the model sees, in pixels."""
    val_share: float = Field(0.15, gt=0, lt=0.5)
    """Share of groups used for validation and calibration, in (0, 0.5)."""
    golden_share: float = Field(0.3, gt=0, lt=0.6)
    """Share of groups in the golden set, in (0, 0.6)."""
    split_salt: str = "sightline"
    """Key of the hash that assigns groups to splits; changing it moves every image."""
    near_duplicate_bits: int = Field(12, ge=0, le=32)
    """Images whose 256-bit difference hashes differ in at most this many bits are one group."""
    max_quarantine_share: float = Field(0.05, ge=0, le=1)
    """Share of refused files above which the data is rejected as a whole."""
    max_pixels: int = Field(50_000_000, gt=0)
    """Largest image that is decoded, in pixels; checked on the header."""
    min_images_per_class: int = Field(20, ge=2)
    """A class with fewer usable images is an error."""
