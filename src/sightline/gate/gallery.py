"""The images that changed sides, grouped by the worst slice that they are in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from sightline.gate.blocking import explained_by
from sightline.gate.pictures import DetectionFlip, SegmentationFlip, detection_uri, segmentation_uri, thumbnail_uri
from sightline.gate.values import SLICE_KINDS, certain_loss, loss

if TYPE_CHECKING:
    from sightline.evaluate.verdict import Check
    from sightline.gate.evidence import BoolArray, Evidence
    from sightline.images import ImageU8

MAX_PICTURES = 24


@dataclass(frozen=True)
class Picture:
    """A golden image as a data URI, with what was said about it.

    Attributes:
        uri: a JPEG data URI.
        label: the truth.
        lines: what the models said, as (who, what), e.g. ("new", "Free 91 %").
        slice: the worst slice that it is in, empty for none.
        file: name of its file.
    """

    uri: str
    label: str
    lines: tuple[tuple[str, str], ...]
    slice: str
    file: str


@dataclass(frozen=True)
class GoldenPictures:
    """Golden images in the order of the evidence: how to read one, and the file of each."""

    read: Callable[[int], ImageU8]
    files: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    """Images under one heading; ``total`` counts those that are not shown too, ``legend`` says what the lines in the pictures are."""

    title: str
    note: str
    total: int
    pictures: tuple[Picture, ...]
    legend: str = ""

    @property
    def groups(self) -> tuple[tuple[str, tuple[Picture, ...]], ...]:
        """The pictures by slice, in their order."""
        return tuple((name, tuple(found)) for name, found in itertools.groupby(self.pictures, key=lambda picture: picture.slice))


def worst_slices_first(checks: Iterable[Check]) -> list[Check]:
    """Checks of slices that have images: failures first, then open and waived ones, each by its certain loss; unjudged ones last.

    Crosses that a failing slice explains come after the other failures.
    """
    order = {"fail": 0, "waived": 1, "inconclusive": 1, "warn": 2, "pass": 2, "info": 3}
    found = [check for check in checks if check.kind in SLICE_KINDS and check.slice and check.num_images]
    explained = explained_by(found)
    return sorted(found, key=lambda check: (order[check.outcome], check.slice in explained, -certain_loss(check), -loss(check)))


def classification_galleries(
    evidence: Evidence, golden: GoldenPictures, classes: Sequence[str], checks: Sequence[Check]
) -> tuple[Gallery, ...]:
    """Newly broken and newly fixed images, or a first model's mistakes; at most 24 each, those of the worst slice first.

    Args:
        evidence: the answers and the masks of the slices.
        golden: the golden images.
        classes: class names in label order.
        checks: the verdict's checks; they say which slices are the worst.
    """
    order = _Order(evidence, [check.slice for check in worst_slices_first(checks)])
    show = _Show(evidence, golden, classes, order)
    new = evidence.correct(evidence.candidate)
    if evidence.champion is None:
        return (show.gallery("Mistakes", "the new model's mistakes, worst slice first, then the most confident", ~new),)
    old = evidence.correct(evidence.champion)
    return (
        show.gallery("Newly broken", "right with the current model, wrong with the new one; worst slice first", old & ~new),
        show.gallery("Newly fixed", "wrong with the current model, right with the new one", ~old & new),
    )


def detection_gallery(title: str, note: str, flips: Iterable[DetectionFlip], *, total: int) -> Gallery:
    """The first 24 of ``flips``, in their order (worst slice first, please); further ones are never decoded.

    Args:
        title: heading.
        note: one line below it.
        flips: may be a generator, so that images are read one by one.
        total: how many there are.
    """
    pictures = tuple(
        Picture(detection_uri(flip), flip.label, (("", flip.kind), *_detail(flip.detail)), flip.slice, PurePath(flip.file).name)
        for flip in itertools.islice(flips, MAX_PICTURES)
    )
    kinds = {
        "missed": "thick orange dashes: newly missed",
        "spurious": "thick yellow dots: newly invented",
        "found": "thick blue line: newly found",
        "no longer spurious": "blue dots: no longer invented",
    }
    shown = {line[1] for picture in pictures for line in picture.lines}
    legend = "; ".join(["thin white line: true boxes", *(text for kind, text in kinds.items() if kind in shown)])
    return Gallery(title, note, total, pictures, legend)


def segmentation_gallery(title: str, note: str, flips: Iterable[SegmentationFlip], *, total: int) -> Gallery:
    """The first 24 of ``flips``, in their order; arguments as for ``detection_gallery``."""
    shown = list(itertools.islice(flips, MAX_PICTURES))
    pictures = tuple(
        Picture(segmentation_uri(flip), flip.label, _detail(flip.detail), flip.slice, PurePath(flip.file).name) for flip in shown
    )
    current = "dashed blue line: current model; " if any(flip.reference is not None for flip in shown) else ""
    legend = f"thin white line: true outline; {current}thick orange line: new model"
    return Gallery(title, note, total, pictures, legend)


def _detail(text: str) -> tuple[tuple[str, str], ...]:
    return (("", text),) if text else ()


class _Order:
    """The place of each image: by the worst attribute slice that it is in, then by the candidate's confidence."""

    def __init__(self, evidence: Evidence, worst_first: Sequence[str]) -> None:
        masks = {**evidence.masks, **evidence.discovered}
        self.slice_N = np.full(len(evidence.labels_N), "", dtype=object)
        self._rank_N = np.full(len(evidence.labels_N), len(worst_first))
        self._confidence_N = evidence.candidate.confidence_N
        for rank, name in reversed(list(enumerate(worst_first))):
            if name in masks:
                self._rank_N[masks[name]], self.slice_N[masks[name]] = rank, name

    def rows(self, mask: BoolArray) -> list[int]:
        """The rows in the mask, in the order in which a person looks at them."""
        rows = np.flatnonzero(mask)
        return [int(row) for row in rows[np.lexsort((-self._confidence_N[rows], self._rank_N[rows]))]]


@dataclass(frozen=True)
class _Show:
    evidence: Evidence
    golden: GoldenPictures
    classes: Sequence[str]
    order: _Order

    def gallery(self, title: str, note: str, mask: BoolArray) -> Gallery:
        """The first images in the mask under a title."""
        rows = self.order.rows(mask)[:MAX_PICTURES]
        return Gallery(title, note, int(mask.sum()), tuple(self._picture(row) for row in rows))

    def _picture(self, row: int) -> Picture:
        champion, candidate = self.evidence.champion, self.evidence.candidate
        said = [] if champion is None else [("current", self._name(int(champion.predicted_N[row])))]
        given = int(candidate.predicted_N[row])
        said.append(("new", self._name(given) + (f" {float(candidate.confidence_N[row]) * 100:.0f} %" if given >= 0 else "")))
        return Picture(
            uri=thumbnail_uri(self.golden.read(row)),
            label=self._name(int(self.evidence.labels_N[row])),
            lines=tuple(said),
            slice=str(self.order.slice_N[row]),
            file=PurePath(self.golden.files[row]).name,
        )

    def _name(self, index: int) -> str:
        return self.classes[index] if index >= 0 else "no valid answer"
