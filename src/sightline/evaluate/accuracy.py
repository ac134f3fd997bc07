"""Accuracy of two classifiers on the same images, for resamples and sign flips of groups of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.evaluate.paired import Floats, Ints

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Accuracy:
    """The share of right answers of a reference and a candidate; fits ``PairedMetric``.

    Attributes:
        reference_N: which images the reference answers correctly.
        candidate_N: the same of the candidate.
    """

    reference_N: BoolArray
    candidate_N: BoolArray

    @property
    def name(self) -> str:
        """For people."""
        return "accuracy"

    @property
    def score_name(self) -> str:
        """What ``image_scores`` is, for people."""
        return "accuracy"

    def __len__(self) -> int:
        return len(self.reference_N)

    def subset(self, rows_M: Ints) -> Accuracy:
        """The same metric on some of the images, in the order of ``rows_M``."""
        return Accuracy(self.reference_N[rows_M], self.candidate_N[rows_M])

    def at(self, weights_BN: npt.NDArray[np.float32]) -> Floats:
        """Shape (B, 2): accuracy of both models for B weightings of the images; NaN where all weigh nothing."""
        whole_B = weights_BN.sum(axis=1, dtype=np.float64)
        hits_B2 = weights_BN.astype(np.float64) @ self.image_scores().T
        result: Floats = np.divide(hits_B2, whole_B[:, None], out=np.full(hits_B2.shape, np.nan), where=whole_B[:, None] > 0)
        return result

    def image_scores(self) -> Floats:
        """Shape (2, N): 1 for a right answer, else 0."""
        return np.stack([self.reference_N, self.candidate_N]).astype(np.float64)
