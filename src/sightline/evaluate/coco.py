"""Strict readers of COCO files: what is in the images (instances) and what a model found (results)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sightline.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# One result takes about 0.6 kB while it is read, so a million fit into a gigabyte.
MAX_DETECTIONS = 1_000_000
MAX_OBJECTS = 1_000_000
MAX_IMAGES = 200_000
MAX_FILE_BYTES = 512 * 10**6
# COCO's widest area range ends at 1e10 square pixels; what is larger would silently count for nothing.
MAX_SIDE_PX = 100_000
# Keys of COCO images that describe the file, not what it shows.
FILE_KEYS = frozenset({"license", "coco_url", "flickr_url", "date_captured"})
ROWS_AT_ONCE = 10_000
# Enough to see a pattern; a file of a million wrong rows would otherwise make a million messages.
MAX_PROBLEMS = 1000

Coordinate = Annotated[float, Field(ge=-MAX_SIDE_PX, le=MAX_SIDE_PX)]
Side = Annotated[float, Field(gt=0, le=MAX_SIDE_PX)]
# JSON has lists only; the numbers inside stay strict.
Box = Annotated[tuple[Coordinate, Coordinate, Side, Side], Field(strict=False)]


class Row(BaseModel):
    """A JSON object of a COCO file; other tools' keys are ignored, a number is never taken from a string."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class ImageRow(Row):
    """One entry of ``images``; every further scalar key is an attribute."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="allow")
    id: int = Field(ge=-(2**62), le=2**62)
    file_name: str = Field(min_length=1, max_length=4096)
    width: int = Field(gt=0, le=MAX_SIDE_PX)
    height: int = Field(gt=0, le=MAX_SIDE_PX)
    group: str | int | None = None


class CategoryRow(Row):
    """One entry of ``categories``."""

    id: int = Field(ge=-(2**62), le=2**62)
    name: str = Field(min_length=1, max_length=200)


class ObjectRow(Row):
    """One entry of ``annotations``; without ``area`` it is that of the box."""

    image_id: int
    category_id: int
    bbox: Box
    area: float | None = Field(None, ge=0, le=MAX_SIDE_PX**2)
    iscrowd: int = Field(0, ge=0, le=1)


class ResultRow(Row):
    """One detection of a results file."""

    image_id: int
    category_id: int
    bbox: Box
    score: float = Field(ge=0, le=1)


RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True)
class Truth:
    """The labelled objects of N images; M objects of C classes.

    Attributes:
        image_ids_N: ids of the images, ascending; "image" below is a row of this.
        files: file name of each image.
        sizes_N2: width and height in pixels.
        classes: names, in order of their category ids.
        class_ids_C: category ids, ascending.
        image_M: image of each object.
        class_M: class index of each object.
        boxes_xywh_M4: left, top, width, height in pixels, as written in the file (a conversion would move IoUs that lie on a threshold).
        area_M: area in square pixels, by which COCO calls an object small, medium or large.
        is_crowd_M: regions of many objects, which neither count as found nor as missed.
        attributes: text per image and attribute, "" where it is missing.
        clusters_N: index of the group of related images; an image without ``group`` is one by itself.
    """

    image_ids_N: Ints
    files: tuple[str, ...]
    sizes_N2: Ints
    classes: tuple[str, ...]
    class_ids_C: Ints
    image_M: Ints
    class_M: Ints
    boxes_xywh_M4: Floats
    area_M: Floats
    is_crowd_M: BoolArray
    attributes: Mapping[str, tuple[str, ...]]
    clusters_N: Ints

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.image_ids_N)

    @cached_property
    def boxes_xyxy(self) -> Floats:
        """Left, top, right, bottom of each box in pixels."""
        return to_xyxy(self.boxes_xywh_M4)


@dataclass(frozen=True)
class Detections:
    """What a model found in the images of a ``Truth``; D boxes.

    Attributes:
        image_D: image row of each box.
        class_D: class index.
        boxes_xywh_D4: left, top, width, height in pixels.
        score_D: in [0, 1].
        num_images_without_answer: images without any box. COCO results cannot tell "nothing there" from "never asked".
    """

    image_D: Ints
    class_D: Ints
    boxes_xywh_D4: Floats
    score_D: Floats
    num_images_without_answer: int = 0

    def __len__(self) -> int:
        """D, the number of boxes."""
        return len(self.image_D)

    @cached_property
    def boxes_xyxy(self) -> Floats:
        """Left, top, right, bottom of each box in pixels."""
        return to_xyxy(self.boxes_xywh_D4)


def to_xyxy(boxes_xywh: Floats) -> Floats:
    """Left, top, right, bottom from left, top, width, height."""
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def read_truth(path: Path) -> Truth:
    """The objects in a COCO instances file.

    Beside COCO's own keys an image may have ``group`` (related images, e.g. of one clip) and any scalar keys, which become attributes.

    Raises:
        DataError: it is no JSON, a key is written twice, a value is missing, not finite, out of range or contradicts another one
            (all problems are listed), there is no object, or there are more than ``MAX_IMAGES`` images or ``MAX_OBJECTS`` objects.
    """
    document = _load(path)
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a COCO instances object, found a {_kind(document)}", remedy='it starts with {"images": …')
    problems: list[str] = []
    images = list(_rows(document, "images", ImageRow, MAX_IMAGES, problems))
    categories = list(_rows(document, "categories", CategoryRow, 100_000, problems))
    objects = list(_rows(document, "annotations", ObjectRow, MAX_OBJECTS, problems))
    _refuse(path, problems)
    images.sort(key=lambda row: row.id)
    categories.sort(key=lambda row: row.id)
    problems += _duplicates("image id", [row.id for row in images]) + _duplicates("file_name", [row.file_name for row in images])
    problems += _duplicates("category id", [row.id for row in categories]) + _duplicates("category name", [row.name for row in categories])
    problems += [f"image {row.id}: file_name '{row.file_name}' leaves the image folder" for row in images if not _is_inside(row.file_name)]
    problems += [f"{key} is empty" for key, rows in (("images", images), ("categories", categories), ("annotations", objects)) if not rows]
    attributes = _attributes(images, problems)
    image_M = _indices("annotations", "image_id", objects, {row.id: index for index, row in enumerate(images)}, problems)
    class_M = _indices("annotations", "category_id", objects, {row.id: index for index, row in enumerate(categories)}, problems)
    _refuse(path, problems)
    boxes = np.array([row.bbox for row in objects], dtype=np.float64).reshape(-1, 4)
    given = np.array([np.nan if row.area is None else row.area for row in objects], dtype=np.float64)
    return Truth(
        image_ids_N=np.array([row.id for row in images], dtype=np.int64),
        files=tuple(row.file_name for row in images),
        sizes_N2=np.array([(row.width, row.height) for row in images], dtype=np.int64).reshape(-1, 2),
        classes=tuple(row.name for row in categories),
        class_ids_C=np.array([row.id for row in categories], dtype=np.int64),
        image_M=image_M,
        class_M=class_M,
        boxes_xywh_M4=boxes,
        area_M=np.where(np.isnan(given), boxes[:, 2] * boxes[:, 3], given),
        is_crowd_M=np.array([row.iscrowd == 1 for row in objects], dtype=np.bool_),
        attributes=attributes,
        clusters_N=_clusters(images),
    )


def read_detections(path: Path, truth: Truth, *, max_detections: int = MAX_DETECTIONS) -> Detections:
    """The boxes of a COCO results file, a list of ``{image_id, category_id, bbox, score}``.

    An image without boxes is accepted and counted, see ``Detections.num_images_without_answer``.

    Raises:
        DataError: it is no JSON, a key is written twice, a value is missing, not finite or out of range, an image or category is not
            in ``truth`` (all problems are listed), there are more than ``max_detections``, most images with objects have no box, or
            the boxes are shares of the image instead of pixels.
    """
    document = _load(path)
    if not isinstance(document, list):
        raise DataError(f"{path}: expected a list of COCO results, found a {_kind(document)}", remedy='it starts with [{"image_id": …')
    problems: list[str] = []
    rows = list(_rows({"results": document}, "results", ResultRow, max_detections, problems))
    _refuse(path, problems)
    image_rows = {int(image_id): index for index, image_id in enumerate(truth.image_ids_N)}
    class_rows = {int(class_id): index for index, class_id in enumerate(truth.class_ids_C)}
    image_D = _indices("results", "image_id", rows, image_rows, problems)
    class_D = _indices("results", "category_id", rows, class_rows, problems)
    _refuse(path, problems)
    boxes = np.array([row.bbox for row in rows], dtype=np.float64).reshape(-1, 4)
    _refuse_incomplete(path, truth, image_D)
    _refuse_shares(path, truth, boxes)
    scores = np.array([row.score for row in rows], dtype=np.float64)
    return Detections(image_D, class_D, boxes, scores, len(truth) - len(np.unique(image_D)))


def _load(path: Path) -> Any:
    remedy = "give a COCO file in JSON"
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"{path} has {size / 1e6:.0f} MB, at most {MAX_FILE_BYTES / 1e6:.0f} MB are read", remedy="leave out masks")
        return json.loads(path.read_bytes(), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply", remedy=remedy) from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}", remedy=remedy) from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name[:100] for name in names if names.count(name) > 1})
        raise ValueError(f"key {', '.join(twice)} is written twice in one object")
    return found


def _rows(document: Mapping[str, Any], key: str, model: type[RowT], limit: int, problems: list[str]) -> Iterator[RowT]:
    """The valid rows under ``key``; what is wrong is added to ``problems``. Rows are checked in parts, so that a big file needs no twin."""
    rows = document.get(key)
    if not isinstance(rows, list):
        problems.append(f"{key}: expected a list, found {'nothing' if rows is None else 'a ' + _kind(rows)}")
        return
    if len(rows) > limit:
        problems.append(f"{key}: {len(rows)} entries, at most {limit} are read")
        return
    adapter = TypeAdapter(list[model])  # type: ignore[valid-type]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        if len(problems) >= MAX_PROBLEMS:
            return
        try:
            yield from adapter.validate_python(rows[start : start + ROWS_AT_ONCE])
        except ValidationError as error:
            problems += [_describe(key, start, detail) for detail in error.errors(include_url=False, include_context=False)[:MAX_PROBLEMS]]


def _describe(key: str, start: int, detail: Mapping[str, Any]) -> str:
    index, *inner = detail["loc"]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)
    given = "" if detail["type"] == "missing" else f", found {str(detail['input'])[:60]}"
    return f"{key}[{start + index}]{place}: {detail['msg']}{given}"


def _indices(key: str, name: str, rows: Sequence[Row], known: Mapping[int, int], problems: list[str]) -> Ints:
    wanted = [getattr(row, name) for row in rows]
    unknown = [f"{key}[{place}].{name}: {value} is not in the truth" for place, value in enumerate(wanted) if value not in known]
    problems += unknown[:MAX_PROBLEMS]
    return np.array([known.get(value, -1) for value in wanted], dtype=np.int64)


def _duplicates(what: str, values: Sequence[int | str]) -> list[str]:
    ordered = sorted(values)
    return [f"{what} {value} occurs more than once" for value in dict.fromkeys(a for a, b in pairwise(ordered) if a == b)]


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _attributes(images: Sequence[ImageRow], problems: list[str]) -> dict[str, tuple[str, ...]]:
    extras = [row.model_extra or {} for row in images]
    scalar = {name for extra in extras for name, value in extra.items() if isinstance(value, str | int | float)} - FILE_KEYS
    problems += [f"image attribute '{name[:60]}': a name may not contain '='" for name in sorted(scalar) if "=" in name]
    return {name: tuple(_text(extra.get(name)) for extra in extras) for name in sorted(scalar)}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if np.isfinite(value) else ""
    return str(value).strip() if isinstance(value, str | int) else ""


def _clusters(images: Sequence[ImageRow]) -> Ints:
    keys = [("image", row.id) if row.group in {None, ""} else ("group", str(row.group)) for row in images]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)


def _refuse_incomplete(path: Path, truth: Truth, image_D: Ints) -> None:
    wanted = np.unique(truth.image_M[~truth.is_crowd_M])
    empty = len(np.setdiff1d(wanted, image_D))
    if 2 * empty > len(wanted):
        raise DataError(
            f"{path}: {empty} of {len(wanted)} images with objects have no detection; is the file complete?",
            remedy="write the detections of all golden images, those with low scores too",
        )


def _refuse_shares(path: Path, truth: Truth, boxes_xywh: Floats) -> None:
    if len(boxes_xywh) and float(np.abs(boxes_xywh).max()) <= 1.5 and int(truth.sizes_N2.min()) > 4:
        raise DataError(
            f"{path}: no box reaches beyond 1.5 pixels; boxes look like shares of the image", remedy="write pixels: [x, y, w, h]"
        )


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if problems:
        raise DataError(f"{path} has {len(problems)} problems", problems=problems, remedy="correct the file; nothing was judged")


def _kind(value: object) -> str:
    names = {dict: "JSON object", list: "list", str: "text", int: "number", float: "number", bool: "boolean"}
    return names.get(type(value), "null")
