"""Golden images as small pictures inside the page: boxes and mask outlines that also colour-blind people can tell apart."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

ImageU8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]
FlipKind = Literal["missed", "spurious", "found", "no longer spurious"]

THUMBNAIL_PX = 112
CROP_PX = 168
_QUALITY = 86
# Okabe and Ito's palette; each line also has a pattern of its own, so that no meaning hangs on colour.
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_VERMILION, _YELLOW, _SKY = (213, 94, 0), (240, 228, 66), (86, 180, 233)
_STYLES: dict[FlipKind, tuple[tuple[int, int, int], tuple[int, int]]] = {
    "missed": (_VERMILION, (10, 6)),
    "spurious": (_YELLOW, (3, 4)),
    "found": (_SKY, (1, 0)),
    "no longer spurious": (_SKY, (3, 4)),
}


@dataclass(frozen=True)
class DetectionFlip:
    """An object whose detection changed.

    Attributes:
        image: RGB uint8 of shape (height, width, 3).
        box_xyxy: the box in question in pixels of ``image``: the true one for missed and found, else the spurious one.
        truth_boxes: all true boxes of the image, shape (n, 4), n may be 0.
        kind: newly missed, newly spurious, newly found, or spurious before and no longer.
        label: class of the object.
        file: the image's file.
        slice: the worst slice that the image is in, empty for none.
        detail: a few words more, e.g. the confidence.
    """

    image: ImageU8
    box_xyxy: Box
    truth_boxes: npt.NDArray[np.floating]
    kind: FlipKind
    label: str
    file: str
    slice: str = ""
    detail: str = ""


@dataclass(frozen=True)
class SegmentationFlip:
    """An image whose segmentation got worse or better.

    Attributes:
        image: RGB uint8 of shape (height, width, 3).
        truth: true pixels of the class, shape (height, width).
        reference: the current model's pixels, None for a first model.
        candidate: the new model's pixels.
        label: the class.
        file: the image's file.
        slice: the worst slice that the image is in, empty for none.
        detail: a few words more, e.g. "IoU 0.81 → 0.44".
    """

    image: ImageU8
    truth: Mask
    reference: Mask | None
    candidate: Mask
    label: str
    file: str
    slice: str = ""
    detail: str = ""


def thumbnail_uri(image: ImageU8) -> str:
    """A golden image as a JPEG data URI of at most 112 pixels."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return _data_uri(np.asarray(picture))


def detection_uri(flip: DetectionFlip) -> str:
    """A crop around the box as a JPEG data URI: truth thin and white, the box in question thick, its pattern by kind."""
    from PIL import Image, ImageDraw

    window = crop_window(flip.box_xyxy, flip.image.shape[:2])
    picture = Image.fromarray(_cropped(flip.image, window))
    draw = ImageDraw.Draw(picture)
    place = _Placing(window)
    for box in np.asarray(flip.truth_boxes, dtype=np.float64).reshape(-1, 4):
        _rectangle(draw, place.box(box), _WHITE, 1, (1, 0))
    colour, dash = _STYLES[flip.kind]
    _rectangle(draw, place.box(flip.box_xyxy), colour, 3, dash)
    return _data_uri(np.asarray(picture))


def segmentation_uri(flip: SegmentationFlip) -> str:
    """A crop around all masks as a JPEG data URI: truth thin and white, current model dashed blue, new model thick orange."""
    masks = [flip.truth, flip.candidate, *([] if flip.reference is None else [flip.reference])]
    window = crop_window(_around(masks), flip.image.shape[:2])
    picture = _cropped(flip.image, window).copy()
    _outline(picture, _cropped_mask(flip.candidate, window), _VERMILION, 3)
    if flip.reference is not None:
        _outline(picture, _cropped_mask(flip.reference, window), _SKY, 2, dash=6)
    _outline(picture, _cropped_mask(flip.truth, window), _WHITE, 1)
    return _data_uri(picture)


def crop_window(box_xyxy: Sequence[float], shape_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A square around a box with its surroundings, inside the image, in pixels (x0, y0, x1, y1); as much of it as there is image.

    Args:
        box_xyxy: may reach beyond the image.
        shape_hw: height and width of the image.
    """
    x0, y0, x1, y1 = box_xyxy
    edge = max(2.2 * max(x1 - x0, y1 - y0), 64.0)
    left, right = _span((x0 + x1) / 2, edge, shape_hw[1])
    top, bottom = _span((y0 + y1) / 2, edge, shape_hw[0])
    return left, top, right, bottom


def _span(centre: float, edge: float, size: int) -> tuple[int, int]:
    length = min(max(round(edge), 1), size)
    start = min(max(round(centre - edge / 2), 0), size - length)
    return start, start + length


class _Placing:
    """From pixels of the image to pixels of the enlarged or reduced crop."""

    def __init__(self, window: tuple[int, int, int, int]) -> None:
        self._left, self._top, right, bottom = window
        self._scale = CROP_PX / max(right - self._left, bottom - self._top)

    def box(self, box_xyxy: Iterable[float]) -> Box:
        """The box in the crop; it may reach beyond it."""
        x0, y0, x1, y1 = (float(value) for value in box_xyxy)
        left, top, scale = self._left, self._top, self._scale
        return (x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale


def _crop_size(window: tuple[int, int, int, int]) -> tuple[int, int]:
    left, top, right, bottom = window
    scale = CROP_PX / max(right - left, bottom - top)
    return max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))


def _cropped(image: ImageU8, window: tuple[int, int, int, int]) -> ImageU8:
    from PIL import Image

    left, top, right, bottom = window
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    return np.asarray(part.resize(_crop_size(window), Image.Resampling.BICUBIC))


def _cropped_mask(mask: Mask, window: tuple[int, int, int, int]) -> Mask:
    from PIL import Image

    left, top, right, bottom = window
    part = Image.fromarray(np.ascontiguousarray(mask[top:bottom, left:right]))
    return np.asarray(part.resize(_crop_size(window), Image.Resampling.NEAREST)).astype(np.bool_)


def _rectangle(draw: ImageDraw, box: Box, colour: tuple[int, int, int], width: int, dash: tuple[int, int]) -> None:
    """A rectangle of dashes with a dark edge, so that it is seen on light and on dark pictures."""
    x0, y0, x1, y1 = box
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    for tone, thickness in ((_BLACK, width + 2), (colour, width)):
        for start, end in itertools.pairwise(corners):
            for one, other in _dashes(start, end, dash):
                draw.line([one, other], fill=tone, width=thickness)


def _dashes(
    start: tuple[float, float], end: tuple[float, float], dash: tuple[int, int]
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    if not dash[1] or length <= sum(dash):
        return [(start, end)]

    def at(distance: float) -> tuple[float, float]:
        share = min(distance / length, 1.0)
        return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share

    # A box far larger than the crop would otherwise be drawn in thousands of strokes outside it.
    period = max(float(sum(dash)), length / 500)
    return [(at(distance), at(distance + dash[0])) for distance in np.arange(0.0, length, period)]


def _around(masks: Sequence[Mask]) -> Box:
    """The box around everything that is set in any mask; the whole image when nothing is."""
    rows, columns = np.nonzero(np.logical_or.reduce(masks))
    if not len(rows):
        return 0.0, 0.0, float(masks[0].shape[1]), float(masks[0].shape[0])
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def _outline(picture: ImageU8, mask: Mask, colour: tuple[int, int, int], width: int, *, dash: int = 0) -> None:
    """Draws the mask's border into ``picture``; with ``dash``, in pieces of so many pixels on a diagonal pattern."""
    edge = mask & ~_shrunk(mask)
    thick = _grown(edge, (width - 1) // 2)
    halo = _grown(thick, 1) & ~thick
    if dash:
        rows, columns = np.indices(mask.shape)
        gaps = ((rows + columns) // dash) % 2 == 1
        thick, halo = thick & ~gaps, halo & ~gaps
    picture[halo] = (picture[halo] * 0.4).astype(np.uint8)
    picture[thick] = colour


def _shrunk(mask: Mask) -> Mask:
    return ~_grown(~mask, 1)


def _grown(mask: Mask, steps: int) -> Mask:
    for _ in range(steps):
        wide = np.pad(mask, 1, mode="edge")
        mask = wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return mask


def _data_uri(image: ImageU8) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
