"""Writes a dataset version: tables, packed pixels, digests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.data.trees import Refusal
from sightline.data.version import SPLITS, DatasetInfo, SplitName
from sightline.store.digest import sha256_file, sha256_value

_ROWS_PER_COPY = 1024
_SAMPLE_COLUMNS = ("sample_id", "location", "size_bytes", "format", "width", "height", "split", "group_id", "label", "class_name")


@dataclass(frozen=True)
class Row:
    """One usable image.

    Attributes:
        pixels: its row number in the array of all pixels.
    """

    sample_id: str
    location: str
    size_bytes: int
    format: str
    width: int
    height: int
    split: SplitName
    group_id: str
    class_name: str
    attributes: Mapping[str, str]
    pixels: int


def write_version(
    folder: Path,
    rows: Sequence[Row],
    pixels_NHWC: npt.NDArray[np.uint8],
    *,
    slices: Sequence[str],
    refusals: Sequence[Refusal],
    source: str,
) -> DatasetInfo:
    """Writes ``samples.parquet``, ``quarantine.parquet``, ``dataset.json`` and ``pixels-<split>.npy`` into ``folder``.

    A split's digest covers sample ids, labels, class names, slice attributes and pixels; where the files lie is not part of it, so moving
    the data leaves every later step cached.

    Args:
        folder: an existing folder.
        rows: the usable images.
        pixels_NHWC: uint8 pixels at the size the model sees, in any order.
        slices: attributes to keep.
        refusals: the refused files.
        source: the folder that the images came from.
    """
    import pandas as pd

    ordered = sorted(rows, key=lambda row: row.sample_id)
    classes = tuple(sorted({row.class_name for row in ordered}))
    labels = {name: label for label, name in enumerate(classes)}
    table = {name: [labels[row.class_name] if name == "label" else getattr(row, name) for row in ordered] for name in _SAMPLE_COLUMNS}
    table |= {f"slice_{name}": [row.attributes[name] for row in ordered] for name in slices}
    pd.DataFrame(table).to_parquet(folder / "samples.parquet", index=False)
    refused = pd.DataFrame(
        [(refusal.path, refusal.reason, refusal.detail) for refusal in refusals], columns=["location", "reason", "detail"], dtype=str
    )
    refused.to_parquet(folder / "quarantine.parquet", index=False)
    digests = {
        name: _write_split(folder, name, [row for row in ordered if row.split == name], pixels_NHWC, (classes, tuple(slices)))
        for name in SPLITS
    }
    counts = Counter((row.split, row.class_name) for row in ordered)
    info = DatasetInfo(
        task="classification",
        classes=classes,
        attributes=tuple(slices),
        counts={name: sum(counts[name, class_name] for class_name in classes) for name in SPLITS},
        class_counts={name: {class_name: counts[name, class_name] for class_name in classes} for name in SPLITS},
        digests=digests,
        quarantined=count_reasons(refusals),
        num_groups=len({row.group_id for row in ordered}),
        image_size_px=int(pixels_NHWC.shape[1]),
        source=source,
    )
    (folder / "dataset.json").write_text(info.model_dump_json(indent=1), encoding="utf-8")
    return info


def count_reasons(refusals: Sequence[Refusal]) -> dict[str, int]:
    """Number of refused files per reason, the most frequent first."""
    return dict(sorted(Counter(refusal.reason for refusal in refusals).items(), key=lambda item: (-item[1], item[0])))


def _write_split(
    folder: Path, name: SplitName, rows: Sequence[Row], pixels_NHWC: npt.NDArray[np.uint8], names: tuple[tuple[str, ...], tuple[str, ...]]
) -> str:
    path = folder / f"pixels-{name}.npy"
    target = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(rows), *pixels_NHWC.shape[1:]))
    for start in range(0, len(rows), _ROWS_PER_COPY):
        target[start : start + _ROWS_PER_COPY] = pixels_NHWC[[row.pixels for row in rows[start : start + _ROWS_PER_COPY]]]
    target.flush()
    classes, slices = names
    content = {
        "classes": classes,
        "slices": slices,
        "rows": [[row.sample_id, row.class_name, *(row.attributes[name] for name in slices)] for row in rows],
        "pixels": sha256_file(path),
    }
    return sha256_value(content)
