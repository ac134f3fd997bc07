"""Tiny datasets with a pattern that a small network learns in seconds."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from sightline.data.version import KIND, SPLITS, DatasetVersion
from sightline.store.artifact import commit_artifact
from sightline.store.digest import sha256_bytes, sha256_value

CLASSES = ("ring", "stripes", "blob")
COUNTS = {"train": 96, "val": 36, "golden": 36}


def tiny_dataset(
    folder: Path,
    *,
    counts: Mapping[str, int] = COUNTS,
    classes: Sequence[str] = CLASSES,
    size_px: int = 32,
    seed: int = 7,
    leak: int = 0,
    files: Path | None = None,
) -> DatasetVersion:
    """A committed dataset artifact in ``folder``: one bright shape per class on a noisy background, slices by ``site`` and ``light``.

    Args:
        folder: the artifact folder to make.
        counts: images per split; classes take turns.
        classes: at most four names; the shapes are ring, stripes, blob, cross in this order.
        size_px: edge of the images, at least 16.
        seed: same seed, same bytes.
        leak: this many golden images are put into train a second time (a broken split, for negative tests).
        files: write the images there as PNG files and point to them; without, locations lead nowhere.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    pixels: dict[str, npt.NDArray[np.uint8]] = {}
    for split in SPLITS:
        labels = np.arange(counts[split]) % len(classes)
        images = (
            np.stack([shape_image(int(label), size_px, rng) for label in labels])
            if len(labels)
            else np.zeros((0, size_px, size_px, 3), np.uint8)
        )
        encoded = [image.tobytes() if files is None else _png(image) for image in images]
        ids = [sha256_bytes(data) for data in encoded]
        order = np.argsort(ids)
        pixels[split] = images[order]
        found = [_row(split, ids[i], int(labels[i]), number, classes) for number, i in enumerate(order)]
        if files is not None:
            found = [_with_file(row, files, encoded[i]) for row, i in zip(found, order, strict=True)]
        rows += found
    if leak:
        pixels["train"] = np.concatenate([pixels["train"], pixels["golden"][:leak]])
        rows += [{**row, "split": "train"} for row in [row for row in rows if row["split"] == "golden"][:leak]]
    return _commit(folder, pd.DataFrame(rows), pixels, classes)


def shape_image(label: int, size_px: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One image of the class: uint8 RGB, the shape at a random place in a random bright colour."""
    image = rng.normal(70, 18, (size_px, size_px, 3)) + rng.uniform(-25, 25)
    y, x = np.mgrid[0:size_px, 0:size_px].astype(float)
    cy, cx = rng.uniform(0.4, 0.6, 2) * size_px
    radius = rng.uniform(0.2, 0.3) * size_px
    distance = np.hypot(y - cy, x - cx)
    masks = (
        np.abs(distance - radius) < size_px / 14,
        (distance < radius * 1.3) & ((x + y) // (size_px / 10) % 2 == 0),
        distance < radius * 0.8,
        (distance < radius * 1.3) & ((np.abs(y - cy) < size_px / 14) | (np.abs(x - cx) < size_px / 14)),
    )
    image[masks[label]] += rng.uniform(70, 120, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    target = io.BytesIO()
    Image.fromarray(image).save(target, "PNG")
    return target.getvalue()


def _with_file(row: dict[str, Any], files: Path, data: bytes) -> dict[str, Any]:
    path = files / row["location"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {**row, "location": str(path)}


def _row(split: str, sample_id: str, label: int, number: int, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "location": f"{classes[label]}/{split}-{number:04d}.png",
        "size_bytes": 1000,
        "format": "PNG",
        "width": 100,
        "height": 100,
        "split": split,
        "group_id": f"g{sample_id[:8]}",
        "label": label,
        "class_name": classes[label],
        "slice_site": "ABC"[int(sample_id[0], 16) % 3],
        "slice_light": ("day", "night")[int(sample_id[1], 16) % 2],
    }


def _commit(folder: Path, samples: pd.DataFrame, pixels: Mapping[str, npt.NDArray[np.uint8]], classes: Sequence[str]) -> DatasetVersion:
    # Stable, so that leaked rows keep the order in which their pixels are packed.
    ordered = {split: samples[samples["split"] == split].sort_values("sample_id", kind="stable") for split in SPLITS}
    if len(ordered["train"]):
        position = samples[samples["split"] == "train"].reset_index(drop=True).sort_values("sample_id", kind="stable").index.to_numpy()
        pixels = {**pixels, "train": pixels["train"][position]}

    def write(target: Path) -> dict[str, Any]:
        pd.concat(list(ordered.values())).reset_index(drop=True).to_parquet(target / "samples.parquet")
        pd.DataFrame({"location": [], "reason": [], "detail": []}, dtype=str).to_parquet(target / "quarantine.parquet")
        for split in SPLITS:
            np.save(target / f"pixels-{split}.npy", pixels[split])
        (target / "dataset.json").write_text(json.dumps(_info(ordered, pixels, classes)))
        return {"config": {}, "seed": None}

    return DatasetVersion(commit_artifact(folder, KIND, write))


def _info(ordered: Mapping[str, pd.DataFrame], pixels: Mapping[str, npt.NDArray[np.uint8]], classes: Sequence[str]) -> dict[str, Any]:
    return {
        "task": "classification",
        "classes": list(classes),
        "attributes": ["site", "light"],
        "counts": {split: len(rows) for split, rows in ordered.items()},
        "class_counts": {split: {name: int((rows["class_name"] == name).sum()) for name in classes} for split, rows in ordered.items()},
        "digests": {
            split: sha256_value([list(rows["sample_id"]), [int(x) for x in rows["label"]], sha256_bytes(pixels[split].tobytes())])
            for split, rows in ordered.items()
        },
        "quarantined": {},
        "num_groups": sum(len(rows) for rows in ordered.values()),
        "image_size_px": int(pixels["train"].shape[1]),
        "source": "tiny",
    }
