"""What the gate has seen: right and wrong answers per golden image, sentinels, size and latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Case, Stage

if TYPE_CHECKING:
    from sightline.gate.measured import Measured

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Corrupted:
    """Both models on the same corrupted images.

    Attributes:
        name: the corruption with its strength in words, e.g. "blur (sigma 1.5 px)".
        clean_M: which of the images the candidate answers correctly without the corruption.
        candidate_M: which it answers correctly with it.
        champion_M: the same for the champion; None for a first model.
        clusters_M: index of the cluster of each image; None: each image is one.
    """

    name: str
    clean_M: BoolArray
    candidate_M: BoolArray
    champion_M: BoolArray | None
    clusters_M: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that the policy is applied to; arrays are in the order of the golden images.

    Attributes:
        stage: trained or compiled.
        labels_N: true class indices.
        masks: images of each slice.
        candidate: the candidate's answers.
        champion: the champion's answers, None for a first model.
        eager: answers of a compiled candidate's own weights before compilation, None for a trained one.
        same_model: the candidate is the champion, bit for bit.
        cases: the must-pass cases with the candidate's answers.
        measured: size, latency, memory and cost of what ships; None where only predictions are compared.
        clusters_N: index of the cluster (group of related images) of each image; None: each image is one.
        anchor: answers of the last audited champion, None without one or when it is the champion itself.
        anchor_generation: its generation, 0 without one.
        corrupted: per corruption, the answers to the corrupted images.
        discovered: masks of weak slices that were found on one half of the images; each mask holds images of the other half only.
        alpha: what this look may spend on promotion; 0 stands for the policy's alpha.
    """

    stage: Stage
    labels_N: npt.NDArray[np.int64]
    masks: Mapping[str, BoolArray]
    candidate: Answers
    champion: Answers | None
    eager: Answers | None
    same_model: bool
    cases: tuple[Case, ...] = ()
    measured: Measured | None = None
    clusters_N: npt.NDArray[np.int64] | None = None
    anchor: Answers | None = None
    anchor_generation: int = 0
    corrupted: tuple[Corrupted, ...] = ()
    discovered: Mapping[str, BoolArray] = field(default_factory=dict)
    alpha: float = 0.0

    def correct(self, answers: Answers) -> BoolArray:
        """Which images are answered correctly."""
        right: BoolArray = answers.predicted_N == self.labels_N
        return right


@dataclass(frozen=True)
class Pair:
    """Two models on the same images, in counts."""

    num_images: int
    num_correct_old: int
    num_correct_new: int
    num_broken: int
    num_fixed: int

    @classmethod
    def count(cls, old_N: BoolArray, new_N: BoolArray) -> Pair:
        """The counts of two arrays of right and wrong, image by image."""
        broken, fixed = int((old_N & ~new_N).sum()), int((~old_N & new_N).sum())
        return cls(len(old_N), int(old_N.sum()), int(new_N.sum()), broken, fixed)

    @property
    def discordance(self) -> float:
        """The share of images on which the models differ in being right; 0 without images."""
        return (self.num_broken + self.num_fixed) / self.num_images if self.num_images else 0.0

    @property
    def difference(self) -> float:
        """Accuracy of the new model minus the old one's; 0 without images."""
        return (self.num_fixed - self.num_broken) / self.num_images if self.num_images else 0.0
