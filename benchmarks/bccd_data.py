"""The BCCD blood-cell images: reads them, groups those that show the same place, splits them, and writes the truth as COCO."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from sightline.data.duplicates import difference_hash, near_groups
from sightline.errors import DataError
from sightline.images import ImageU8, decode

CLASSES = ("RBC", "WBC", "Platelets")
WIDTH, HEIGHT = 640, 480
# In bits of 256: the one pair of near copies in BCCD differs in 24, all other pairs in 81 and more.
NEAR_BITS = 32
# The side of the cells, in pixels, on which overlaps are looked for.
OVERLAP_REDUCTION = 5
GOLDEN_SHARE = 0.6
MAX_XML_BYTES = 1_000_000
MAX_BOXES = 1_000
MAX_DEPTH = 20

SplitName = Literal["own", "official"]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labelled:
    """An image with its boxes.

    Attributes:
        name: file name without its ending.
        pixels: (480, 640, 3), uint8.
        boxes_xyxy: (n, 4), float32, in pixels, inside the image and not empty.
        labels_n: index in ``CLASSES`` per box.
    """

    name: str
    pixels: ImageU8
    boxes_xyxy: FloatArray
    labels_n: npt.NDArray[np.int64]


def read_voc(data: bytes) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """The boxes of a Pascal VOC annotation.

    Returns:
        Boxes (n, 4) as xyxy, cut off at the image's edges, and class indices (n,). Boxes without an area are left out.

    Raises:
        DataError: larger than 1 MB, not XML, with a document type (entities live there), nested too deep, too many boxes, an unknown
            class, or a number that is none.
    """
    if len(data) > MAX_XML_BYTES:
        raise DataError(f"an annotation has {len(data)} bytes, more than {MAX_XML_BYTES}")
    boxes, labels = [], []
    objects = parse_xml(data).findall("object")
    if len(objects) > MAX_BOXES:
        raise DataError(f"an annotation has {len(objects)} boxes, more than {MAX_BOXES}")
    for item in objects:
        name = item.findtext("name", "").strip()
        if name not in CLASSES:
            raise DataError(f"unknown class {name[:40]!r}, expected one of {', '.join(CLASSES)}")
        left, top, right, bottom = (_number(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax"))
        box = (max(left, 0.0), max(top, 0.0), min(right, WIDTH), min(bottom, HEIGHT))
        if box[2] > box[0] and box[3] > box[1]:
            boxes.append(box)
            labels.append(CLASSES.index(name))
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4), np.asarray(labels, dtype=np.int64)


def parse_xml(data: bytes) -> Element:
    """The root of an XML document that has no document type, so neither entities nor references to other files."""
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(f"an annotation is nested more than {MAX_DEPTH} levels deep")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise DataError("an annotation has a document type, which VOC annotations do not need")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)  # noqa: FBT003 — expat takes no keywords
        return builder.close()
    except (expat.ExpatError, ParseError) as error:
        raise DataError(f"an annotation is not XML: {error}") from error


def _number(text: str) -> float:
    # No nan, inf or 1_000, which float() would take.
    if not text.strip().removeprefix("-").replace(".", "", 1).isdecimal() or len(text) > 40:
        raise DataError(f"{text[:40]!r} is not a coordinate")
    return float(text)


def read_images(data: Path) -> list[Labelled]:
    """All images of a BCCD folder, sorted by name."""
    images, problems = [], []
    for path in sorted((data / "JPEGImages").glob("*.jpg")):
        pixels = decode(path.read_bytes(), max_pixels=WIDTH * HEIGHT)
        annotation = data / "Annotations" / f"{path.stem}.xml"
        try:
            boxes, labels = read_voc(annotation.read_bytes())
        except (DataError, OSError) as error:
            problems.append(f"{annotation.name}: {error}")
            continue
        if pixels.shape != (HEIGHT, WIDTH, 3):
            problems.append(f"{path.name}: {pixels.shape[1]} × {pixels.shape[0]}, expected {WIDTH} × {HEIGHT}")
            continue
        images.append(Labelled(path.stem, pixels, boxes, labels))
    if problems or not images:
        raise DataError(f"{data} is not a usable copy of BCCD", problems=problems or ["no images in JPEGImages"])
    return images


def group_names(images: Sequence[Labelled]) -> list[str]:
    """Per image the first name of its group: near copies, and fields of view that overlap on the slide. Most images are one by themselves.

    Takes time quadratic in the number of images, about 10 s for BCCD.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    hashes = np.stack([difference_hash(image.pixels) for image in images])
    pairs = [*overlapping(images), *enumerate(near_groups(hashes, NEAR_BITS).tolist())]
    first, second = np.array(pairs).T
    _, component = connected_components(coo_array((np.ones(len(pairs)), (first, second)), shape=(len(images),) * 2), directed=False)
    smallest = {label: min(image.name for image, own in zip(images, component, strict=True) if own == label) for label in set(component)}
    return [smallest[label] for label in component]


def overlapping(images: Sequence[Labelled]) -> list[tuple[int, int]]:
    """The pairs of images that show partly the same place, shifted by up to about half of their sides.

    Phase correlation proposes a shift, the correlation of what both would then show confirms it. In BCCD 20 pairs correlate by 0.94 to
    0.99, all others by at most 0.63. Images that share less than about half of their area are not found.

    Source: Kuglin, Hines, "The Phase Correlation Image Alignment Method" (1975).
    """
    height, width = HEIGHT // OVERLAP_REDUCTION, WIDTH // OVERLAP_REDUCTION
    cells = np.stack([image.pixels[..., 1].reshape(height, OVERLAP_REDUCTION, width, -1).mean(axis=(1, 3)) for image in images])
    faded = (cells - cells.mean(axis=(1, 2), keepdims=True)) * np.outer(np.hanning(height), np.hanning(width))
    spectra = np.fft.rfft2(faded.astype(np.float32))
    spectra /= np.abs(spectra) + 1e-6
    found = []
    for index in range(len(images) - 1):
        peaks = np.fft.irfft2(spectra[index + 1 :] * spectra[index].conj(), s=(height, width)).reshape(-1, height * width)
        for offset in np.flatnonzero(peaks.max(axis=1) > 0.12):
            other = index + 1 + int(offset)
            down, right = divmod(int(peaks[offset].argmax()), width)
            shifts = [(y, x) for y in (down, down - height) for x in (right, right - width)]
            if max(_agreement(cells[index], cells[other], shift) for shift in shifts) > 0.8:
                found.append((index, other))
    return found


def _agreement(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], shift: tuple[int, int]) -> float:
    """The correlation of the part that both show; 0 where that is less than a third of the image."""
    cut = [
        (slice(max(0, -by), size - max(0, by)), slice(max(0, by), size + min(0, by))) for by, size in zip(shift, first.shape, strict=True)
    ]
    ours, theirs = (part - part.mean() if part.size else part for part in (first[cut[0][0], cut[1][0]], second[cut[0][1], cut[1][1]]))
    if ours.size < first.size / 3:
        return 0.0
    return float((ours * theirs).sum() / max(np.sqrt((ours**2).sum() * (theirs**2).sum()), 1e-6))


def hashed_share(name: str) -> float:
    """A number in [0, 1) that only depends on the name."""
    return int(hashlib.sha256(f"bccd\n{name}".encode()).hexdigest()[:13], 16) / 16**13


def golden_rows(images: Sequence[Labelled], groups: Sequence[str], split: SplitName, data: Path) -> list[bool]:
    """Which images are golden; the others are for training, but for near copies of golden ones: see ``train_rows``."""
    if split == "own":
        return [hashed_share(group) < GOLDEN_SHARE for group in groups]
    listed = set((data / "ImageSets" / "Main" / "test.txt").read_text(encoding="utf-8").split())
    return [image.name in listed for image in images]


def train_rows(golden: Sequence[bool], groups: Sequence[str]) -> list[bool]:
    """Images that are not golden and of no golden group."""
    seen = {group for group, is_golden in zip(groups, golden, strict=True) if is_golden}
    return [group not in seen for group in groups]


def attributes(image: Labelled) -> dict[str, str]:
    """What the image is like: the limits cut BCCD at about its quartiles."""
    num_red, num_white, num_platelets = (int((image.labels_n == index).sum()) for index in range(len(CLASSES)))
    red, green, blue = image.pixels.reshape(-1, 3).mean(axis=0, dtype=np.float64)
    return {
        "red_cells": "few" if num_red < 9 else "many" if num_red > 14 else "medium",
        "white_cells": ("none", "one", "several")[min(num_white, 2)],
        "platelets": ("none", "one", "several")[min(num_platelets, 2)],
        "light": _bucket((red + green + blue) / 3, (180.8, 184.4), ("dim", "normal", "bright")),
        "stain": _bucket(red - blue, (3.4, 7.8), ("blue", "neutral", "red")),
    }


def _bucket(value: float, limits: tuple[float, float], names: tuple[str, str, str]) -> str:
    return names[sum(value >= limit for limit in limits)]


def coco_truth(images: Sequence[Labelled], groups: Sequence[str]) -> dict[str, Any]:
    """A COCO dataset; image ids count from 1 in the order of ``images``, category ids from 1 in the order of ``CLASSES``."""
    described = [
        {"id": number, "file_name": f"{image.name}.jpg", "width": WIDTH, "height": HEIGHT, "group": group} | attributes(image)
        for number, (image, group) in enumerate(zip(images, groups, strict=True), 1)
    ]
    boxes = [
        (number, box, int(label) + 1)
        for number, image in enumerate(images, 1)
        for box, label in zip(xywh(image.boxes_xyxy), image.labels_n, strict=True)
    ]
    annotations = [
        {"id": index, "image_id": number, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for index, (number, box, category) in enumerate(boxes, 1)
    ]
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES, 1)]
    return {"info": {"description": "BCCD"}, "images": described, "annotations": annotations, "categories": categories}


def xywh(boxes_xyxy: FloatArray) -> list[list[float]]:
    """Boxes as COCO writes them: left, top, width, height, in hundredths of a pixel."""
    boxes = boxes_xyxy.astype(np.float64)
    rounded: list[list[float]] = np.round(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1), 2).tolist()
    return rounded
