"""Macro F1 of two classifiers on the same images, for resamples of the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.evaluate.paired import Floats, Ints

_NO_ANSWER = -1


@dataclass(frozen=True)
class MacroF1:
    """Macro F1 of a reference and a candidate: the mean F1 over the classes that have images or answers (see ``metrics.macro_f1``).

    Attributes:
        labels_N: true class indices.
        reference_N: predicted class indices; anything outside 0..C-1 is no valid answer, a miss of its true class. None without a
            reference: its column is NaN.
        candidate_N: the same of the candidate.
        num_classes: C.
    """

    labels_N: Ints
    reference_N: Ints | None
    candidate_N: Ints
    num_classes: int

    @property
    def name(self) -> str:
        """For people."""
        return "macro F1"

    @property
    def score_name(self) -> str:
        """What ``image_scores`` is, for people."""
        return "accuracy"

    def __len__(self) -> int:
        return len(self.labels_N)

    def subset(self, rows_M: Ints) -> MacroF1:
        """The same metric on some of the images, in the order of ``rows_M``."""
        reference = None if self.reference_N is None else self.reference_N[rows_M]
        return MacroF1(self.labels_N[rows_M], reference, self.candidate_N[rows_M], self.num_classes)

    def cells(self) -> Ints:
        """Shape (N,): images with the same number have the same class and get the same two answers."""
        base = self.num_classes + 1
        reference = np.full(len(self), _NO_ANSWER) if self.reference_N is None else self._valid(self.reference_N)
        cells: Ints = (self.labels_N * base + reference + 1) * base + self._valid(self.candidate_N) + 1
        return cells

    def at(self, weights_BN: npt.NDArray[np.float32]) -> Floats:
        """Shape (B, 2): macro F1 of reference and candidate for B weightings of the images; NaN where all weigh nothing."""
        _, first, kind_N = np.unique(self.cells(), return_index=True, return_inverse=True)
        few = self.subset(first.astype(np.int64))
        weights_BD = _sums(weights_BN, kind_N.astype(np.int64), len(first))
        result = np.full((len(weights_BN), 2), np.nan)
        for column, predicted_D in enumerate((few.reference_N, few.candidate_N)):
            if predicted_D is not None:
                result[:, column] = _macro_f1(weights_BD, (few.labels_N, predicted_D), self.num_classes)
        return result

    def image_scores(self) -> Floats:
        """Shape (2, N): 1 for a correct answer, else 0; NaN without a reference."""
        candidate = (self.candidate_N == self.labels_N).astype(np.float64)
        if self.reference_N is None:
            return np.stack([np.full(len(self), np.nan), candidate])
        return np.stack([(self.reference_N == self.labels_N).astype(np.float64), candidate])

    def _valid(self, predicted_N: Ints) -> Ints:
        valid: Ints = np.where((predicted_N >= 0) & (predicted_N < self.num_classes), predicted_N, _NO_ANSWER)
        return valid


def _macro_f1(weights_BD: Floats, answers: tuple[Ints, Ints], num_classes: int) -> Floats:
    classes = np.arange(num_classes)
    truth_DC, answers_DC = (column_D[:, None] == classes for column_D in answers)
    hits_BC = weights_BD @ (truth_DC & answers_DC).astype(np.float64)
    whole_BC = weights_BD @ (truth_DC.astype(np.float64) + answers_DC)
    f1_BC = np.divide(2 * hits_BC, whole_BC, out=np.zeros_like(hits_BC), where=whole_BC > 0)
    present_B = (whole_BC > 0).sum(axis=1)
    result: Floats = np.divide(f1_BC.sum(axis=1), present_B, out=np.full(len(present_B), np.nan), where=present_B > 0)
    return result


def _sums(weights_BN: npt.NDArray[np.float32], kind_N: Ints, num_kinds: int) -> Floats:
    """The weights added up per kind of image, shape (B, kinds)."""
    if num_kinds == weights_BN.shape[1]:
        return weights_BN[:, np.argsort(kind_N)].astype(np.float64)
    order = np.argsort(kind_N, kind="stable")
    starts = np.searchsorted(kind_N[order], np.arange(num_kinds))
    result: Floats = np.add.reduceat(weights_BN[:, order], starts, axis=1, dtype=np.float64)
    return result
