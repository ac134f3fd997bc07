"""Segmentation by folders of masks: pixels counted once per image, judged by mIoU or Dice."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError, UsageError
from sightline.evaluate.discover import discover, feature_table
from sightline.evaluate.masks import MaskFolder, open_masks
from sightline.evaluate.segmentation import Overlap, OverlapMetric, PixelCounts, class_overlaps, count_folders, overlap_metric
from sightline.evaluate.slices import attribute_masks, cross_masks, end_masks
from sightline.evaluate.tables import attributes_for
from sightline.evaluate.verdict import Case, Check, Confusion, Flips, Task
from sightline.gate.cause import failing_scores_outside
from sightline.gate.compare_classes import require_images
from sightline.gate.conclude import Findings
from sightline.gate.decide import case_checks
from sightline.gate.evidence import BoolArray
from sightline.gate.first_metric import first_metric_checks
from sightline.gate.gallery import worst_slices_first
from sightline.gate.metric import discovered_metric_checks, metric_checks
from sightline.gate.picture_files import PictureFiles

if TYPE_CHECKING:
    import pandas as pd

    from sightline.config.gate import GateConfig
    from sightline.gate.compare import Files
    from sightline.gate.drawings import ReliabilityCurve
    from sightline.gate.gallery import Gallery
    from sightline.gate.pictures import SegmentationFlip

# An image counts as broken or fixed, and a must-pass case as right, at this overlap of its worst class.
_RIGHT = 0.5
Rows = npt.NDArray[np.int64]
_KINDS: dict[str, Overlap] = {"auto": "miou", "miou": "miou", "dice": "dice"}


def read_masks(files: Files, policy: GateConfig) -> Masks:
    """The folders, checked against each other and counted."""
    import pandas as pd

    if len(files.classes) < 2:
        known = f"--classes names {files.classes[0]!r} only" if files.classes else "the classes of the masks are not known"
        raise UsageError(known, remedy="name all in the order of their values, the background too: --classes background,defect")
    names = tuple(sorted(path.relative_to(files.truth).as_posix() for path in files.truth.rglob("*.png")))
    if not names:
        raise DataError(f"{files.truth} holds no .png mask", remedy="one 8-bit PNG of class indices per golden image")
    truth, new = (open_masks(folder, names, len(files.classes)) for folder in (files.truth, files.new))
    current = open_masks(files.current, names, len(files.classes)) if files.current else None
    pictures = PictureFiles.find(files.images, names) if files.images else None
    nothing = pd.DataFrame(index=range(len(names))), np.arange(len(names))
    attributes, clusters = attributes_for(files.attributes, names) if files.attributes else nothing
    counts = count_folders(truth, new)
    before = count_folders(truth, current) if current else None
    values = pictures.values(policy.property_slices) if pictures else {}
    return Masks(files.classes, (truth, current, new), (before, counts), attributes, clusters.astype(np.int64), values, pictures)


@dataclass(frozen=True)
class Masks:
    """Masks of the truth, the current and the new model, and their pixel counts."""

    classes: tuple[str, ...]
    folders: tuple[MaskFolder, MaskFolder | None, MaskFolder]
    counts: tuple[PixelCounts | None, PixelCounts]
    attributes: pd.DataFrame
    clusters_N: npt.NDArray[np.int64]
    values: dict[str, npt.NDArray[np.float64]]
    pictures: PictureFiles | None
    task: Task = "segmentation"

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the golden images."""
        return self.folders[0].names

    @property
    def slices(self) -> Collection[str]:
        """Names of the slices."""
        return self._masks(min_images=1, crosses=True).keys()

    def metric(self, policy: GateConfig) -> str:
        """mIoU or Dice."""
        if policy.metric not in _KINDS:
            raise UsageError(f"gate.metric: '{policy.metric}' is not for segmentation", remedy="use auto, miou or dice")
        return self._metric(policy).name

    def _metric(self, policy: GateConfig) -> OverlapMetric:
        return overlap_metric(_KINDS[policy.metric], *self.counts)

    def _masks(self, *, min_images: int, crosses: bool) -> dict[str, BoolArray]:
        holds = self.counts[1].truth_NC > 0
        masks = {f"class={name}": holds[:, index] for index, name in enumerate(self.classes)} | attribute_masks(self.attributes)
        if crosses:
            masks |= cross_masks(self.attributes, min_images)
        return masks | end_masks(self.values)

    def checks(self, policy: GateConfig, alpha: float) -> Sequence[Check]:
        """The metric by paired cluster bootstrap, other slices by sign flips, the classes for information."""
        metric = self._metric(policy)
        clusters = self.clusters_N if policy.cluster == "group" else None
        masks = self._judged_masks(policy)
        judge = metric_checks if self.counts[0] else first_metric_checks
        checks = [*case_checks(self._cases(policy)), *judge(metric, masks, clusters, policy, alpha), *self._by_class(policy)]
        weak = self._weak(metric, policy) if policy.discover_slices else {}
        weak = {name: mask for name, mask in weak.items() if name not in masks}
        return [*checks, *discovered_metric_checks(metric, weak, is_first=self.counts[0] is None)]

    def _judged_masks(self, policy: GateConfig) -> dict[str, BoolArray]:
        every = self._masks(min_images=1, crosses=True)
        masks = self._masks(min_images=policy.min_slice_images, crosses=policy.slice_crosses)
        return masks | {name: every[name] for name in policy.critical_slices}

    def _weak(self, metric: OverlapMetric, policy: GateConfig) -> dict[str, BoolArray]:
        old, new = metric.image_scores()
        loss = np.nan_to_num((1.0 if self.counts[0] is None else old) - new)
        features = feature_table(self.attributes, self.values)
        return discover(loss, features, self.clusters_N, self.images, min_images=policy.min_slice_images)

    def _by_class(self, policy: GateConfig) -> list[Check]:
        kind = _KINDS[policy.metric]
        before, now = self.counts
        old = class_overlaps(before, kind) if before else np.full(len(self.classes), np.nan)
        checks = []
        for name, was, value in zip(self.classes, old.tolist(), class_overlaps(now, kind).tolist(), strict=True):
            if np.isfinite(value):
                paired = {"reference": was, "estimate": value - was} if np.isfinite(was) else {"estimate": value}
                label = {"miou": "IoU", "dice": "Dice"}[kind]
                detail = {"metric": label, "detail": "for information, without a test", "num_images": len(self.images)}
                checks.append(
                    Check(name=f"{label} of {name}", kind="agreement", required=False, outcome="info", value=value, **paired, **detail)
                )
        return checks

    def _cases(self, policy: GateConfig) -> tuple[Case, ...]:
        require_images(policy.sentinels, self.images)
        worst = _worst_class(self.counts[1])
        rows = {name: row for row, name in enumerate(self.images)}
        wanted = f"IoU of at least {_RIGHT:g} for every class"
        return tuple(
            Case(location=name, wanted=wanted, given=wanted if worst[rows[name]] >= _RIGHT else f"IoU {worst[rows[name]]:.2f}")
            for name in policy.sentinels
        )

    def findings(self, policy: GateConfig, checks: Sequence[Check]) -> Findings:
        """Images that changed sides at an IoU of 0.5 of their worst class, pixels lost and invented, and what fails elsewhere."""
        broken, fixed = self._changed() if self.counts[0] else ((), ())
        return Findings(
            flips=Flips(num_broken=len(broken), num_fixed=len(fixed)),
            cases=self._cases(policy),
            errors=self._errors(),
            outside=self._failing_outside(policy, checks) if self.counts[0] else None,
        )

    def _failing_outside(self, policy: GateConfig, checks: Sequence[Check]) -> tuple[str, ...] | None:
        clusters = self.clusters_N if policy.cluster == "group" else None
        return failing_scores_outside(self._metric(policy), self._judged_masks(policy), clusters, checks, policy)

    def _changed(self) -> tuple[Rows, Rows]:
        """Broken and fixed images, the largest change first; of a first model the wrong ones and none.

        Ties are broken by the pixels that are wrong: without a defect in the truth, every false one takes the IoU from 1 to 0.
        """
        before, now = self.counts
        new = _worst_class(now)
        old = _worst_class(before) if before else np.ones_like(new)
        size = _num_wrong(now) - (_num_wrong(before) if before else 0)
        order = np.lexsort((-size, new - old))
        broken = order[(old[order] >= _RIGHT) & (new[order] < _RIGHT)]
        fixed = order[::-1][(old[order[::-1]] < _RIGHT) & (new[order[::-1]] >= _RIGHT)]
        return broken, fixed

    def _errors(self) -> tuple[Confusion, ...]:
        before, now = self.counts
        old, new = _wrong_pixels(before, self.classes) if before else {}, _wrong_pixels(now, self.classes)
        found = [Confusion(name=name, reference=old.get(name), candidate=count) for name, count in new.items() if count or old.get(name)]
        return tuple(sorted(found, key=lambda error: -error.candidate))

    def galleries(self, checks: Sequence[Check]) -> Sequence[Gallery]:
        """Images that changed sides, or a first model's mistakes: those of the worst slice first, then the largest change."""
        if self.pictures is None:
            return ()
        from sightline.gate.gallery import segmentation_gallery

        bad, good = self._changed()
        drawn, fixed = self._drawn(bad, checks), self._drawn(good, checks, is_fixed=True)
        order = "worst slice first, then the largest change"
        if self.counts[0] is None:
            note = f"IoU of the image's worst class is below {_RIGHT:g}; {order}"
            return (segmentation_gallery("Mistakes", note, drawn, total=len(bad)),)
        note = f"IoU of the image's worst class fell below {_RIGHT:g}; {order}"
        return (
            segmentation_gallery("Newly broken", note, drawn, total=len(bad)),
            segmentation_gallery("Newly fixed", f"... and rose above {_RIGHT:g}", fixed, total=len(good)),
        )

    def _drawn(self, rows: Rows, checks: Sequence[Check], *, is_fixed: bool = False) -> Iterator[SegmentationFlip]:
        from sightline.gate.pictures import SegmentationFlip

        if self.pictures is None:
            return
        truth, current, new = self.folders
        slices, names = self._slice_of(checks), self.images
        for row in self._worst_slices_first(rows, checks):
            index = self._class_at_fault(row, is_fixed=is_fixed)
            yield SegmentationFlip(
                image=self.pictures.read(row),
                truth=truth.read(names[row]) == index,
                reference=current.read(names[row]) == index if current else None,
                candidate=new.read(names[row]) == index,
                label=self.classes[index],
                file=names[row],
                slice=slices[row],
                detail=self._change(row, index),
            )

    def _class_at_fault(self, row: int, *, is_fixed: bool) -> int:
        """The worst class of the answer that was, or is, wrong."""
        before, now = self.counts
        counts = before if is_fixed and before else now
        return int(np.nan_to_num(_class_scores(counts)[row], nan=1.0).argmin())

    def _change(self, row: int, index: int) -> str:
        """What happened to a class in an image, e.g. "IoU 0.81 → 0.44"."""
        both = [counts for counts in self.counts if counts]
        if both[0].truth_NC[row, index]:
            return "IoU " + " → ".join(f"{_class_scores(counts)[row, index]:.2f}" for counts in both)
        return "not there; pixels " + " → ".join(f"{counts.predicted_NC[row, index]}" for counts in both)

    def _worst_slices_first(self, rows: Rows, checks: Sequence[Check]) -> list[int]:
        names, slices = [check.slice for check in worst_slices_first(checks)], self._slice_of(checks)
        rank = {name: place for place, name in reversed(list(enumerate(names)))}
        return sorted(map(int, rows), key=lambda row: rank.get(slices[row], len(names)))

    def _slice_of(self, checks: Sequence[Check]) -> list[str]:
        found = [""] * len(self.images)
        masks = self._masks(min_images=1, crosses=True)
        for check in reversed(worst_slices_first(checks)):
            for row in np.flatnonzero(masks.get(check.slice, np.zeros(0, dtype=np.bool_))):
                found[row] = check.slice
        return found

    def curves(self) -> Sequence[ReliabilityCurve]:
        """None: masks hold no confidences."""
        return ()

    def write(self, folder: Path, checks: Sequence[Check]) -> None:
        """``flips.parquet``: one row per image that changed sides, or that a first model gets wrong; worst slice first."""
        import pandas as pd

        slices = self._slice_of(checks)
        rows = []
        for kind, changed in zip(("worse" if self.counts[0] else "wrong", "better"), self._changed(), strict=True):
            for row in self._worst_slices_first(changed, checks):
                index = self._class_at_fault(row, is_fixed=kind == "better")
                rows.append((str(PurePosixPath(self.images[row])), slices[row], kind, self.classes[index], self._change(row, index)))
        pd.DataFrame(rows, columns=["location", "slice", "kind", "label", "detail"]).to_parquet(folder / "flips.parquet", index=False)


def _wrong_pixels(counts: PixelCounts, classes: Sequence[str]) -> dict[str, int]:
    """How many pixels of each class were missed, and how many were wrongly given to it.

    Of two classes, what the first lost is what the second was wrongly given, so only the second, by custom not the background, is told.
    """
    hits, truth, predicted = (part.sum(axis=0) for part in (counts.hits_NC, counts.truth_NC, counts.predicted_NC))
    told = [(index, name) for index, name in enumerate(classes) if index or len(classes) > 2]
    lost = {f"pixels of {name} missed": int(truth[index] - hits[index]) for index, name in told}
    return lost | {f"pixels wrongly called {name}": int(predicted[index] - hits[index]) for index, name in told}


def _class_scores(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """IoU per image and class; NaN where a class is neither true nor predicted."""
    union = counts.truth_NC + counts.predicted_NC - counts.hits_NC
    scores: npt.NDArray[np.float64] = np.divide(counts.hits_NC, union, out=np.full(union.shape, np.nan), where=union > 0)
    return scores


def _worst_class(counts: PixelCounts) -> npt.NDArray[np.float64]:
    """The lowest IoU of any class in each image; 1 where no pixel is judged."""
    scores = np.where(np.isnan(_class_scores(counts)), 1.0, _class_scores(counts))
    worst: npt.NDArray[np.float64] = scores.min(axis=1)
    return worst


def _num_wrong(counts: PixelCounts) -> npt.NDArray[np.int64]:
    """Pixels per image that are in another class than in the truth."""
    wrong: npt.NDArray[np.int64] = (counts.truth_NC - counts.hits_NC).sum(axis=1)
    return wrong
