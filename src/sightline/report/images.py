"""The images that a page shows: examples per class, those that the candidate broke or fixed, and those that were served."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sightline.errors import DataError
from sightline.report.evidence import StepEvidence
from sightline.report.thumbnails import Thumbnail, Thumbnails

if TYPE_CHECKING:
    from sightline.data.version import Split

PER_CLASS = 8
PER_SIDE = 18
MAX_CLASSES = 12
MAX_REFUSED = 50
# What a file of another version, or one that is no table at all, raises when it is read; the page then says so.
_UNREADABLE = (DataError, ValidationError, OSError, KeyError, ValueError)


@dataclass(frozen=True)
class Examples:
    """A row of images under a title; ``more`` says how many are not shown."""

    title: str = ""
    images: tuple[Thumbnail, ...] = ()
    more: int = 0


@dataclass(frozen=True)
class Flips:
    """Golden images that changed sides; ``missing`` says why there are none to show."""

    broken: Examples = Examples()
    fixed: Examples = Examples()
    missing: str = ""


def class_examples(ingest: StepEvidence, thumbnails: Thumbnails) -> tuple[tuple[Examples, ...], tuple[dict[str, str], ...]]:
    """A few training images per class, and the refused files with their reasons; both empty when the dataset cannot be read."""
    from sightline.data.version import DatasetVersion

    if ingest.artifact is None:
        return (), ()
    try:
        dataset = DatasetVersion(ingest.artifact)
        split = dataset.split("train")
        examples = tuple(_of_class(split, index, name, thumbnails) for index, name in enumerate(dataset.info.classes[:MAX_CLASSES]))
        refused = [{str(key): str(value) for key, value in row.items()} for row in dataset.quarantine.head(MAX_REFUSED).to_dict("records")]
    except _UNREADABLE:
        return (), ()
    return examples, tuple(refused)


def _of_class(split: "Split", index: int, name: str, thumbnails: Thumbnails) -> Examples:
    places = [place for place, label in enumerate(split.labels_N.tolist()) if label == index]
    made = [thumbnails.make(split.pixels_NHWC[place], f"{name}: {split.locations[place]}") for place in places[:PER_CLASS]]
    return Examples(name, tuple(image for image in made if image), max(0, len(places) - PER_CLASS))


def flip_images(gate: StepEvidence, ingest: StepEvidence | None, thumbnails: Thumbnails) -> Flips:
    """The golden images that the candidate newly breaks and newly fixes, from the gate's predictions and the dataset's pixels."""
    from sightline.data.version import DatasetVersion

    if ingest is None or ingest.artifact is None:
        return Flips(missing="the dataset of this run is not available")
    if gate.artifact is None or not gate.has("predictions.parquet"):
        return Flips(missing="the gate kept no predictions")
    try:
        dataset = DatasetVersion(ingest.artifact)
        rows = _changed(gate)
        split = dataset.split("golden")
        return Flips(
            _side("Newly broken", [row for row in rows if row["was"]], split, thumbnails),
            _side("Newly fixed", [row for row in rows if not row["was"]], split, thumbnails),
        )
    except _UNREADABLE as error:
        return Flips(missing=f"the predictions cannot be read ({type(error).__name__})")


def _changed(gate: StepEvidence) -> list[dict[str, Any]]:
    """Rows whose answer was right for one of the models only; none when there is no champion."""
    import pandas as pd

    if gate.artifact is None:
        return []
    table = pd.read_parquet(gate.artifact.file("predictions.parquet")).dropna(subset=["champion", "candidate"])
    was, now = table["champion"] == table["label"], table["candidate"] == table["label"]
    changed = table.assign(was=was)[was != now].sort_values(["label", "sample_id"])
    return [{str(key): value for key, value in row.items()} for row in changed.to_dict("records")]


def _side(title: str, rows: Sequence[dict[str, Any]], split: "Split", thumbnails: Thumbnails) -> Examples:
    places = {sample_id: place for place, sample_id in enumerate(split.sample_ids)}
    made = [_flip(row, places, split, thumbnails) for row in rows[:PER_SIDE]]
    shown = tuple(image for image in made if image)
    return Examples(title, shown, len(rows) - len(shown))


def _flip(row: dict[str, Any], places: dict[str, int], split: "Split", thumbnails: Thumbnails) -> Thumbnail | None:
    place = places.get(str(row["sample_id"]))
    if place is None:
        return None
    text = f"{row['label']}, now {row['candidate']}" if row["was"] else f"{row['label']}, was {row['champion']}"
    return thumbnails.make(split.pixels_NHWC[place], f"{split.locations[place]}, {text}", text)


def served_images(monitor: StepEvidence, thumbnails: Thumbnails) -> Examples:
    """Images that the drift step kept of what was served (``served-*.png`` or ``.jpg``); empty when it kept none."""
    from sightline.images import ImageRefusedError, decode

    if monitor.artifact is None:
        return Examples()
    names = [
        entry.path for entry in monitor.artifact.manifest.files if entry.path.startswith("served") and entry.path.endswith((".png", ".jpg"))
    ]
    shown = []
    for name in names[:PER_SIDE]:
        try:
            shown.append(thumbnails.make(decode(monitor.artifact.file(name).read_bytes()), f"served image {name}"))
        except (ImageRefusedError, OSError):
            continue
    return Examples("Served", tuple(image for image in shown if image), len(names) - len(shown))
