"""Detection by COCO files: matched once per image, judged by AP, explained object by object."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import UsageError
from sightline.evaluate.coco import Detections, Truth, read_detections, read_truth
from sightline.evaluate.detection import Comparison, DetectionMetric, image_slices, match
from sightline.evaluate.detection_errors import DetectionErrors, ObjectFlip, count_errors, find_errors, find_flips
from sightline.evaluate.discover import discover, feature_table
from sightline.evaluate.slices import cross_masks, end_masks
from sightline.evaluate.tables import attributes_for
from sightline.evaluate.verdict import Case, Check, Flips, Task
from sightline.gate.cause import failing_scores_outside
from sightline.gate.compare_classes import require_images
from sightline.gate.conclude import Findings
from sightline.gate.decide import case_checks
from sightline.gate.evidence import BoolArray
from sightline.gate.first_metric import first_metric_checks
from sightline.gate.metric import discovered_metric_checks, metric_checks
from sightline.gate.picture_files import PictureFiles
from sightline.gate.values import SLICE_KINDS

if TYPE_CHECKING:
    import pandas as pd

    from sightline.config.gate import GateConfig
    from sightline.gate.compare import Files
    from sightline.gate.drawings import ReliabilityCurve
    from sightline.gate.gallery import Gallery
    from sightline.gate.pictures import DetectionFlip, FlipKind

_METRICS = {"auto": "AP", "ap": "AP", "ap50": "AP50"}


def read_boxes(files: Files, policy: GateConfig) -> Boxes:
    """The COCO files, checked against each other and matched."""
    truth = read_truth(files.truth)
    if files.attributes:
        table, clusters = attributes_for(files.attributes, truth.files)
        truth = replace(truth, attributes={name: tuple(table[name]) for name in table.columns}, clusters_N=clusters)
    new = read_detections(files.new, truth)
    current = read_detections(files.current, truth) if files.current else None
    pictures = PictureFiles.find(files.images, truth.files) if files.images else None
    matched = match(
        truth, new if current is None else current, new, score_thresholds_2C=np.full((2, len(truth.classes)), policy.score_threshold)
    )
    old_N, new_N = matched.ap.image_scores()
    thresholds = matched.ap.score_thresholds_2C
    errors = find_errors(truth, new, thresholds[1])
    before = None if current is None else find_errors(truth, current, thresholds[0])
    values = pictures.values(policy.property_slices) if pictures else {}
    masks = image_slices(truth) | end_masks(values)
    if policy.slice_crosses:
        masks |= cross_masks(_attributes(truth), policy.min_slice_images)
    loss = 1 - new_N if current is None else old_N - new_N
    weak = discover(loss, feature_table(_attributes(truth), values), truth.clusters_N, _names(truth), min_images=policy.min_slice_images)
    # A rule may say the same as a declared slice, which is judged on all of its images.
    weak = {name: mask for name, mask in weak.items() if name not in masks and policy.discover_slices}
    return Boxes(truth, new, current, matched, (before, errors), masks, weak, pictures)


def _attributes(truth: Truth) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: np.array(values, dtype=str) for name, values in truth.attributes.items()}, index=range(len(truth)))


def _names(truth: Truth) -> tuple[str, ...]:
    return tuple(str(name) for name in truth.files)


@dataclass(frozen=True)
class Boxes:
    """Truth and boxes of two detectors; ``errors`` are those of the current one (None without) and of the new one."""

    truth: Truth
    new: Detections
    current: Detections | None
    matched: Comparison
    errors: tuple[DetectionErrors | None, DetectionErrors]
    masks: dict[str, BoolArray]
    weak: dict[str, BoolArray]
    pictures: PictureFiles | None
    task: Task = "detection"

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the golden images."""
        return _names(self.truth)

    @property
    def slices(self) -> Collection[str]:
        """Names of the slices."""
        return self.masks.keys()

    def metric(self, policy: GateConfig) -> str:
        """AP or AP50."""
        if policy.metric not in _METRICS:
            raise UsageError(f"gate.metric: '{policy.metric}' is not for detection", remedy="use auto, ap or ap50")
        return _METRICS[policy.metric]

    def checks(self, policy: GateConfig, alpha: float) -> Sequence[Check]:
        """AP by paired cluster bootstrap, other slices by sign flips; plain numbers for information."""
        metric = self._metric(policy)
        clusters = self.truth.clusters_N if policy.cluster == "group" else None
        own = {f"class={name}": metric.of_class(index) for index, name in enumerate(self.truth.classes)}
        judged = (
            metric_checks(metric, self.masks, clusters, policy, alpha, own)
            if self.current is not None
            else first_metric_checks(metric, self.masks, clusters, policy, alpha)
        )
        checks = [*case_checks(self._cases(policy)), *self._answers(), *judged]
        return [*checks, *self._numbers(), *discovered_metric_checks(metric, self.weak, is_first=self.current is None)]

    def _metric(self, policy: GateConfig) -> DetectionMetric:
        return self.matched.ap if self.metric(policy) == "AP" else self.matched.ap50

    def _answers(self) -> list[Check]:
        """Images without any box are legal in COCO's format, and worth a line: an incomplete file looks the same."""
        silent = self.matched.candidate.num_images_without_answer
        if not silent:
            return []
        detail = f"{silent} images have no box at all; COCO results cannot say whether they were scored"
        return [Check(name="images without boxes", kind="answers", required=False, outcome="info", num_images=silent, detail=detail)]

    def _numbers(self) -> list[Check]:
        old, new = self.matched.reference, self.matched.candidate
        rows = [("AP50", old.ap50, new.ap50), ("AR100", old.ar100, new.ar100)]
        rows += [(f"AP, {size} objects", old.by_size[size], new.by_size[size]) for size in new.by_size]
        rows += [(f"AP of {name}", old.by_class[name], new.by_class[name]) for name in new.by_class]
        return [self._number(*row) for row in rows if np.isfinite(row[2])]

    def _number(self, name: str, old: float, new: float) -> Check:
        metric = "AP50" if name == "AP50" else "AR" if name == "AR100" else "AP"
        values: dict[str, object] = {"value": new, "estimate": new, "num_images": len(self.truth), "metric": metric}
        if self.current is not None and np.isfinite(old):
            values |= {"reference": old, "estimate": new - old}
        return Check(name=name, kind="agreement", required=False, outcome="info", detail="for information, without a test", **values)

    def _cases(self, policy: GateConfig) -> tuple[Case, ...]:
        require_images(policy.sentinels, self.images)
        wrong = {error.image: error.kind for error in self.errors[1].errors}
        rows = {name: row for row, name in enumerate(self.images)}
        return tuple(Case(location=name, wanted="no error", given=wrong.get(rows[name], "no error")) for name in policy.sentinels)

    def findings(self, policy: GateConfig, checks: Sequence[Check]) -> Findings:
        """Objects that changed sides, the kinds of errors, and what fails outside the deciding slice."""
        flips = self._flips
        num_broken = sum(flip.is_broken for flip in flips)
        clusters = self.truth.clusters_N if policy.cluster == "group" else None
        outside = None if self.current is None else failing_scores_outside(self._metric(policy), self.masks, clusters, checks, policy)
        return Findings(
            flips=Flips(num_broken=num_broken, num_fixed=len(flips) - num_broken),
            cases=self._cases(policy),
            errors=count_errors(self.truth, *self.errors),
            outside=outside,
        )

    @property
    def _flips(self) -> tuple[ObjectFlip, ...]:
        before, now = self.errors
        return find_flips(self.truth, before, now) if before is not None else ()

    def galleries(self, checks: Sequence[Check]) -> Sequence[Gallery]:
        """Objects newly lost or invented, and those newly right, in the images of the worst slices first."""
        if self.pictures is None:
            return ()
        from sightline.gate.gallery import detection_gallery

        ordered = self._ordered(checks)
        chosen = {True: [flip for flip in ordered if flip.is_broken], False: [flip for flip in ordered if not flip.is_broken]}
        return (
            detection_gallery(
                "Newly broken",
                "objects that the current model gets right; worst slice first",
                self._drawn(chosen[True], checks),
                total=len(chosen[True]),
            ),
            detection_gallery(
                "Newly fixed", "objects that only the new model gets right", self._drawn(chosen[False], checks), total=len(chosen[False])
            ),
        )

    def _ordered(self, checks: Sequence[Check]) -> list[ObjectFlip]:
        ranks = {name: rank for rank, name in enumerate(self._slice_names(checks))}
        slices = self._slice_of(checks)
        # One object of each image first, so that one crowded image does not fill the page.
        seen: dict[int, int] = {}
        keyed = []
        for flip in self._flips:
            turn = seen[flip.image] = seen.get(flip.image, -1) + 1
            keyed.append((ranks.get(slices[flip.image], len(ranks)), turn, flip.image, flip))
        return [flip for *_, flip in sorted(keyed, key=lambda item: item[:3])]

    def _slice_names(self, checks: Sequence[Check]) -> list[str]:
        from sightline.gate.gallery import worst_slices_first

        return [check.slice for check in worst_slices_first(check for check in checks if check.kind in SLICE_KINDS)]

    def _slice_of(self, checks: Sequence[Check]) -> list[str]:
        found = [""] * len(self.truth)
        masks = self.masks | self.weak
        for name in reversed(self._slice_names(checks)):
            for row in np.flatnonzero(masks[name]):
                found[row] = name
        return found

    def _drawn(self, flips: Sequence[ObjectFlip], checks: Sequence[Check]) -> Iterator[DetectionFlip]:
        from sightline.gate.pictures import DetectionFlip

        if self.pictures is None:
            return
        slices = self._slice_of(checks)
        for flip in flips:
            yield DetectionFlip(
                image=self.pictures.read(flip.image),
                box_xyxy=flip.box_xyxy,
                truth_boxes=self.truth.boxes_xyxy[self.truth.image_M == flip.image],
                kind=_kind(flip),
                label=self.truth.classes[flip.class_index],
                file=self.images[flip.image],
                slice=slices[flip.image],
                detail=_words(flip),
            )

    def curves(self) -> Sequence[ReliabilityCurve]:
        """None: a box's score is no probability of being right."""
        return ()

    def write(self, folder: Path, checks: Sequence[Check]) -> None:
        """``flips.parquet``: one row per object that changed sides, worst slice first."""
        import pandas as pd

        slices = self._slice_of(checks)
        columns = ["location", "slice", "kind", "label", "detail"]
        rows = [
            (self.images[flip.image], slices[flip.image], _kind(flip), self.truth.classes[flip.class_index], _words(flip))
            for flip in self._ordered(checks)
        ]
        pd.DataFrame(rows, columns=columns).to_parquet(folder / "flips.parquet", index=False)


def _kind(flip: ObjectFlip) -> FlipKind:
    if flip.is_broken:
        return "spurious" if flip.kind in {"spurious", "duplicate"} else "missed"
    return "found" if flip.kind == "found" else "no longer spurious"


def _words(flip: ObjectFlip) -> str:
    said = {"nothing": "nothing there", "class": "wrong class", "localisation": "badly placed"}
    return f"{said.get(flip.was, flip.was)} → {said.get(flip.kind, flip.kind)}"
