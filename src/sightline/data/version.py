"""DatasetVersion: the samples, their splits and digests, and the packed pixels of one version of the data."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from sightline.store.artifact import Artifact, open_artifact

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

KIND = "dataset"
SplitName = Literal["train", "val", "golden"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "golden")


class DatasetInfo(BaseModel):
    """``dataset.json``: what the version is, in counts and digests.

    Attributes:
        classes: class names in label order.
        attributes: the columns of samples.parquet that are slice attributes (without the ``slice_`` prefix they have there).
        counts: images per split.
        class_counts: images per split and class.
        digests: per split, the digest of its sample ids, labels, attributes and pixels; steps key on the splits that they read.
        quarantined: refused files per reason.
        num_groups: groups after near-duplicates were joined.
        image_size_px: edge of the packed images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: Literal["classification"]
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    counts: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    digests: dict[str, str]
    quarantined: dict[str, int]
    num_groups: int
    image_size_px: int
    source: str


@dataclass(frozen=True)
class Split:
    """The images of one split, in the order of their sample ids.

    Attributes:
        name: train, val or golden.
        sample_ids: SHA-256 of each image's bytes.
        labels_N: class index per image, int64.
        attributes: one string column per slice attribute.
        locations: path of each image's file.
        pixels_NHWC: uint8 RGB at the size the model sees, memory-mapped where possible.
    """

    name: SplitName
    sample_ids: tuple[str, ...]
    labels_N: "npt.NDArray[np.int64]"
    attributes: "pd.DataFrame"
    locations: tuple[str, ...]
    pixels_NHWC: "npt.NDArray[np.uint8]"

    def __len__(self) -> int:
        return len(self.sample_ids)


class DatasetVersion:
    """A verified dataset artifact: ``samples.parquet``, ``quarantine.parquet``, ``dataset.json``, ``pixels-<split>.npy``."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.info = DatasetInfo.model_validate_json(artifact.file("dataset.json").read_bytes())

    @classmethod
    def open(cls, folder: str | Path) -> "DatasetVersion":
        """The version in ``folder``; DataError when it is not a whole, unaltered dataset."""
        return cls(open_artifact(Path(folder), KIND))

    @functools.cached_property
    def samples(self) -> "pd.DataFrame":
        """One row per image.

        Columns: sample_id, location, size_bytes, format, width, height, split, group_id, label, class_name and ``slice_<attribute>``.
        """
        import pandas as pd

        return pd.read_parquet(self.artifact.file("samples.parquet"))

    @functools.cached_property
    def quarantine(self) -> "pd.DataFrame":
        """One row per refused file: location, reason, detail."""
        import pandas as pd

        return pd.read_parquet(self.artifact.file("quarantine.parquet"))

    def split(self, name: SplitName) -> Split:
        """The images of one split; the pixels are memory-mapped, not read."""
        import numpy as np

        rows = self.samples[self.samples["split"] == name].sort_values("sample_id")
        attributes = rows[[f"slice_{column}" for column in self.info.attributes]].astype(str)
        return Split(
            name=name,
            sample_ids=tuple(rows["sample_id"]),
            labels_N=rows["label"].to_numpy(dtype=np.int64),
            attributes=attributes.rename(columns=lambda column: column.removeprefix("slice_")).reset_index(drop=True),
            locations=tuple(rows["location"]),
            pixels_NHWC=np.load(self.artifact.file(f"pixels-{name}.npy"), mmap_mode="r"),
        )
