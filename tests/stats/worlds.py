"""Synthetic worlds with a known truth: two models on the same golden images, right or wrong per image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.evaluate.predict import Answers
from sightline.gate.evidence import Evidence

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """What is true of the images.

    Attributes:
        masks: which images each slice holds.
        losses_N: true loss of accuracy per image; a negative one is a gain.
        churn: share of images on which the models differ without any loss, half broken and half fixed.
        accuracy: of the old model.
    """

    masks: Mapping[str, BoolArray]
    losses_N: npt.NDArray[np.float64]
    churn: float = 0.05
    accuracy: float = 0.9


@dataclass(frozen=True)
class Worlds:
    """Right and wrong answers of the old and the new model, shape (worlds, images)."""

    old_WN: BoolArray
    new_WN: BoolArray
    masks: Mapping[str, BoolArray]

    def __len__(self) -> int:
        return len(self.old_WN)

    def evidence(self) -> Iterator[Evidence]:
        """What the gate would be given in each world."""
        for old_N, new_N in zip(self.old_WN, self.new_WN, strict=True):
            yield evidence(old_N, new_N, self.masks)


def draw(truth: Truth, worlds: int, seed: int) -> Worlds:
    """``worlds`` independent golden sets of one truth; the same seed gives the same worlds."""
    rng = np.random.default_rng(seed)
    images = len(truth.losses_N)
    change, level = rng.random((worlds, images), dtype=np.float32), rng.random((worlds, images), dtype=np.float32)
    broken_rate = truth.churn / 2 + np.maximum(truth.losses_N, 0)
    fixed_rate = truth.churn / 2 + np.maximum(-truth.losses_N, 0)
    broken, fixed = change < broken_rate, change >= 1 - fixed_rate
    both_right = level < (truth.accuracy - broken_rate) / (1 - broken_rate - fixed_rate)
    return Worlds(broken | (~fixed & both_right), fixed | (~broken & both_right), truth.masks)


def evidence(old_N: BoolArray, new_N: BoolArray, masks: Mapping[str, BoolArray]) -> Evidence:
    """Evidence on a trained candidate with these right and wrong answers, and nothing else that could block it."""
    ids = tuple(map(str, range(len(old_N))))

    def answers(right: BoolArray) -> Answers:
        return Answers(ids, np.where(right, 0, 1), np.full(len(ids), 0.9, dtype=np.float32))

    return Evidence(
        stage="trained",
        labels_N=np.zeros(len(ids), dtype=np.int64),
        masks=masks,
        candidate=answers(new_N),
        champion=answers(old_N),
        eager=None,
        same_model=False,
    )
