"""Packed images: memory-mapped pixels and labels that any number of processes read without a copy."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from sightline.data.version import DatasetVersion, SplitName
from sightline.errors import DataError


class Packed(BaseModel):
    """Where the images of one split are; small enough to travel in a job file.

    Attributes:
        pixels: path of a ``.npy`` of uint8 (N, H, W, 3).
        labels: path of a ``.npy`` of int64 (N,).
        rows: path of a ``.npy`` of int64 row numbers to use; empty uses all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    pixels: str
    labels: str
    rows: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that there are."""
        return tuple(path for path in (self.pixels, self.labels, self.rows) if path)

    def read(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Memory-mapped pixels (N, H, W, 3), labels (N,) and the row numbers to use."""
        labels = np.load(self.labels)
        rows = np.load(self.rows) if self.rows else np.arange(len(labels))
        return np.load(self.pixels, mmap_mode="r"), labels, rows


def pack(dataset: DatasetVersion, name: SplitName, scratch: Path) -> Packed:
    """The split's packed images: the dataset's own pixel file, and its labels written to ``scratch``.

    Raises:
        DataError: the split is empty.
    """
    split = dataset.split(name)
    if not len(split):
        raise DataError(f"the {name} split has no images", remedy="add images, or lower ingest.golden_share and ingest.val_share")
    labels = scratch / f"labels-{name}.npy"
    np.save(labels, split.labels_N)
    return Packed(pixels=str(dataset.artifact.file(f"pixels-{name}.npy").absolute()), labels=str(labels.absolute()))


def refuse_golden(dataset: DatasetVersion) -> None:
    """Makes sure that no golden image can be learnt from.

    Raises:
        DataError: a golden sample is in train or val as well.
    """
    samples = dataset.samples
    golden = set(samples.loc[samples["split"] == "golden", "sample_id"])
    leaked = samples[(samples["split"] != "golden") & samples["sample_id"].isin(golden)]
    if len(leaked):
        problems = [f"{row.location} ({row.split}) is also in golden" for row in leaked.itertuples()]
        raise DataError(
            "golden images must never be trained on", problems=problems, remedy="run ingest again; a group never spans two splits"
        )
