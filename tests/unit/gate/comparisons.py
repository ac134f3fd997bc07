"""Golden sets with predictions of all tasks, and the command line that compares them."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from sightline.evaluate.verdict import Verdict, read_verified

IMAGES = 400
DEFECTS = ("crack", "dent", "ok")


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


def sightline(*words: object) -> Ran:
    """The real command line, in this process."""
    from sightline.cli import main

    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", ["sightline", *map(str, words)]), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            return Ran(int(stop.code or 0), out.getvalue(), err.getvalue())
    return Ran(0, out.getvalue(), err.getvalue())


def gate_run(current: object, new: object, *options: object, output: Path) -> tuple[Ran, Verdict]:
    """The command and the verified verdict that it left; no further options are needed for tables and files."""
    ran = sightline("gate", "run", current, new, *options, "--output", output)
    assert ran.code in {0, 3}, ran.err
    return ran, read_verified(output)


def names(num: int = IMAGES, ending: str = "png") -> list[str]:
    return [f"part-{number:04d}.{ending}" for number in range(num)]


def truth_table() -> pd.DataFrame:
    """400 images of three classes with two attributes; every fifth image is of site B."""
    rows = np.arange(IMAGES)
    return pd.DataFrame(
        {
            "image": names(),
            "label": [DEFECTS[row % 3] for row in rows],
            "site": np.where(rows % 5 == 0, "B", "A"),
            "light": np.where(rows % 2 == 0, "day", "night"),
        }
    )


def answers_table(truth: pd.DataFrame, wrong: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Right answers but for the rows in ``wrong``, which get the next class."""
    following = {name: DEFECTS[(index + 1) % len(DEFECTS)] for index, name in enumerate(DEFECTS)}
    label = truth["label"].where(~wrong, truth["label"].map(following))
    return pd.DataFrame({"image": truth["image"], "label": label, "confidence": 0.9})


def write_tables(folder: Path, new_wrong: Callable[[pd.DataFrame], npt.ArrayLike], *, name: str = "new") -> Path:
    """truth.csv, current.csv (right on 9 of 10 images) and ``<name>.csv`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = truth_table()
    truth.to_csv(folder / "truth.csv", index=False)
    answers_table(truth, current_wrong(truth)).to_csv(folder / "current.csv", index=False)
    answers_table(truth, np.asarray(new_wrong(truth))).to_csv(folder / f"{name}.csv", index=False)
    return folder


def current_wrong(truth: pd.DataFrame) -> npt.NDArray[np.bool_]:
    return np.arange(len(truth)) % 10 == 7


def write_pictures(folder: Path, files: list[str], *, size: tuple[int, int] = (64, 48)) -> Path:
    """Noise of a brightness that differs from image to image."""
    rng = np.random.default_rng(3)
    for number, name in enumerate(files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (size[1], size[0], 3)) + number % 180
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def coco_truth(num: int = 210) -> dict[str, list[dict[str, object]]]:
    """Two objects per image, one of each class; every third image is of line 2."""
    images = [
        {"id": 10 + row, "file_name": f"cam/{row:04d}.png", "width": 64, "height": 48, "line": 1 + (row % 3 == 0)} for row in range(num)
    ]
    objects = [
        {"id": 2 * row + index, "image_id": 10 + row, "category_id": 5 + index, "bbox": _box(row, index), "area": 120.0, "iscrowd": 0}
        for row in range(num)
        for index in (0, 1)
    ]
    return {"images": images, "categories": [{"id": 5, "name": "screw"}, {"id": 6, "name": "washer"}], "annotations": objects}


def _box(row: int, index: int) -> list[float]:
    return [4.0 + 30 * index + row % 7, 6.0 + row % 11, 12.0, 10.0]


def detections(truth: Mapping[str, list[dict[str, object]]], *, lost: Callable[[int, str], bool]) -> list[dict[str, object]]:
    """One box a pixel off for each object, but for those that ``lost(row, class)`` names, and a few invented ones."""
    classes = {category["id"]: category["name"] for category in truth["categories"]}
    boxes = []
    for number, one in enumerate(truth["annotations"]):
        x, y, width, height = one["bbox"]
        if not lost(int(one["image_id"]) - 10, classes[one["category_id"]]):
            place = {"image_id": one["image_id"], "category_id": one["category_id"], "bbox": [x + 1, y, width, height]}
            boxes.append({**place, "score": round(0.5 + number % 97 / 200, 4)})
        if number % 20 == 3:
            boxes.append({"image_id": one["image_id"], "category_id": one["category_id"], "bbox": [2.0, 30.0, 9.0, 9.0], "score": 0.31})
    return boxes


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def write_masks(folder: Path, num: int, *, shift: Callable[[int], int] = lambda _: 0) -> Path:
    """A disc of class 1 on class 0, moved to the right by ``shift(row)`` pixels."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[0:24, 0:32]
    for row in range(num):
        disc = np.hypot(y - 12, x - 10 - row % 5 - shift(row)) < 6
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"{row:04d}.png")
    return folder
