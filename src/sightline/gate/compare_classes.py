"""Classification by tables: truth and answers per image name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import UsageError
from sightline.evaluate.discover import discover, feature_table
from sightline.evaluate.predict import Answers
from sightline.evaluate.slices import attribute_masks, cross_masks, end_masks, near_matches
from sightline.evaluate.tables import TruthTable, read_answers, read_truth, with_attributes
from sightline.evaluate.verdict import Case, Check, Task
from sightline.gate.conclude import Findings
from sightline.gate.decide import decide
from sightline.gate.drawings import ReliabilityCurve, reliability_curves
from sightline.gate.evidence import BoolArray, Evidence
from sightline.gate.judge import findings
from sightline.gate.picture_files import PictureFiles

if TYPE_CHECKING:
    from sightline.config.gate import GateConfig
    from sightline.gate.compare import Files
    from sightline.gate.gallery import Gallery


def read_classes(files: Files, policy: GateConfig) -> Classes:
    """The tables, checked against each other."""
    truth = read_truth(files.truth)
    truth = with_attributes(truth, files.attributes) if files.attributes else truth
    current = read_answers(files.current, truth) if files.current else None
    new = read_answers(files.new, truth)
    pictures = PictureFiles.find(files.images, truth.images) if files.images else None
    labels = [truth.classes[label] for label in truth.labels_N]
    masks = {f"class={name}": truth.labels_N == index for index, name in enumerate(truth.classes)} | attribute_masks(truth.attributes)
    if policy.slice_crosses:
        masks |= cross_masks(truth.attributes, policy.min_slice_images, labels)
    values = pictures.values(policy.property_slices) if pictures else {}
    features = feature_table(truth.attributes.assign(**{"class": labels}), values)
    right = (new.predicted_N == truth.labels_N).astype(np.float64)
    before = 1.0 if current is None else (current.predicted_N == truth.labels_N).astype(np.float64)
    weak = discover(before - right, features, truth.clusters_N, truth.images, min_images=policy.min_slice_images)
    masks |= end_masks(values)
    # A rule that says the same as a declared slice is no discovery, and two checks must not share a name.
    weak = {name: mask for name, mask in weak.items() if policy.discover_slices and name not in masks}
    return Classes(truth, current, new, masks, weak, pictures)


@dataclass(frozen=True)
class Classes:
    """Truth and answers of two classifiers."""

    truth: TruthTable
    current: Answers | None
    new: Answers
    masks: dict[str, BoolArray]
    weak: dict[str, BoolArray]
    pictures: PictureFiles | None
    task: Task = "classification"

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the golden images."""
        return self.truth.images

    @property
    def slices(self) -> Collection[str]:
        """Names of the slices."""
        return self.masks.keys()

    def metric(self, policy: GateConfig) -> str:
        """Accuracy or macro F1."""
        names = {"auto": "accuracy", "accuracy": "accuracy", "macro-f1": "macro F1"}
        if policy.metric not in names:
            raise UsageError(f"gate.metric: '{policy.metric}' is not for classification", remedy="use auto, accuracy or macro-f1")
        return names[policy.metric]

    def checks(self, policy: GateConfig, alpha: float) -> Sequence[Check]:
        """The same decision as for a bundle, without what only a bundle has."""
        return decide(self._evidence(policy, alpha), policy)

    def findings(self, policy: GateConfig, checks: Sequence[Check]) -> Findings:
        """Flips, must-pass cases, confusions."""
        return findings(self._evidence(policy, 0.0), self.truth.classes, checks, policy)

    def _evidence(self, policy: GateConfig, alpha: float) -> Evidence:
        return Evidence(
            stage="predictions",
            labels_N=self.truth.labels_N,
            masks=self.masks,
            candidate=self.new,
            champion=self.current,
            eager=None,
            same_model=False,
            cases=self._cases(policy),
            clusters_N=self.truth.clusters_N if policy.cluster == "group" else None,
            discovered=self.weak,
            alpha=alpha,
        )

    def _cases(self, policy: GateConfig) -> tuple[Case, ...]:
        require_images(policy.sentinels, self.images)
        rows = {name: row for row, name in enumerate(self.images)}
        return tuple(
            Case(location=name, wanted=self._name(self.truth.labels_N[rows[name]]), given=self._name(self.new.predicted_N[rows[name]]))
            for name in policy.sentinels
        )

    def _name(self, index: int) -> str:
        return self.truth.classes[index] if index >= 0 else ""

    def galleries(self, checks: Sequence[Check]) -> Sequence[Gallery]:
        """Newly broken and newly fixed images, where their files are known."""
        if self.pictures is None:
            return ()
        from sightline.gate.gallery import GoldenPictures, classification_galleries

        evidence = self._without_policy()
        return classification_galleries(evidence, GoldenPictures(self.pictures.read, self.images), self.truth.classes, checks)

    def curves(self) -> Sequence[ReliabilityCurve]:
        """Reliability curves of both."""
        return reliability_curves(self._without_policy())

    def _without_policy(self) -> Evidence:
        from sightline.config.gate import GateConfig

        return self._evidence(GateConfig(), 0.0)

    def write(self, folder: Path, _checks: Sequence[Check]) -> None:
        """``predictions.parquet``: one row per image."""
        import pandas as pd

        columns: dict[str, object] = {
            "sample_id": self.images,
            "location": self.images,
            "label": [self._name(label) for label in self.truth.labels_N],
        }
        for name, answers in (("candidate", self.new), ("champion", self.current)):
            given = [None] * len(self.images) if answers is None else [self._name(index) or None for index in answers.predicted_N]
            columns[name] = pd.array(given, dtype="string")
            columns[f"{name}_confidence"] = np.full(len(self.images), np.nan) if answers is None else answers.confidence_N
        pd.DataFrame(columns).to_parquet(folder / "predictions.parquet", index=False)


def require_images(names: Sequence[str], known: Sequence[str]) -> None:
    """UsageError, with near matches, for a must-pass case that is no golden image."""
    there = set(known)
    for name in names:
        if name not in there:
            close = near_matches(name, known)
            raise UsageError(
                f"gate.sentinels: no golden image is called '{name}'" + (f" (did you mean {', '.join(close)}?)" if close else ""),
                remedy="name each must-pass case as in the truth",
            )
