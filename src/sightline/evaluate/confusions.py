"""Which class is taken for which, by two models on the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.evaluate.verdict import Confusion

if TYPE_CHECKING:
    import numpy.typing as npt

    from sightline.evaluate.predict import Answers

MAX_CONFUSIONS = 50


def confusions(
    labels_N: npt.NDArray[np.int64], reference: Answers | None, candidate: Answers, classes: Sequence[str]
) -> tuple[Confusion, ...]:
    """The kinds of errors that either model makes, at most 50; those that grew most come first, then the most frequent.

    Args:
        labels_N: true class indices; both models' answers are in the same order.
        reference: the champion's answers, None for a first model, whose errors are in order of frequency.
        candidate: the candidate's answers.
        classes: class names in label order.

    Returns:
        "Crack taken for Free", or "no valid answer for Crack" where a model gave none or named a class that the dataset does not have;
        empty when both are right everywhere and without images.
    """
    new = _errors(labels_N, candidate)
    if reference is None:
        ranked = sorted(new, key=lambda error: (-new[error], error))
        return tuple(Confusion(name=_name(error, classes), candidate=new[error]) for error in ranked[:MAX_CONFUSIONS])
    old = _errors(labels_N, reference)
    ranked = sorted(new.keys() | old.keys(), key=lambda error: (old[error] - new[error], -new[error], error))
    return tuple(Confusion(name=_name(error, classes), reference=old[error], candidate=new[error]) for error in ranked[:MAX_CONFUSIONS])


def _errors(labels_N: npt.NDArray[np.int64], answers: Answers) -> Counter[tuple[int, int]]:
    wrong = answers.predicted_N != labels_N
    # Every answer outside the dataset's classes is the same kind of error.
    given = np.maximum(answers.predicted_N[wrong], -1)
    return Counter(zip(labels_N[wrong].tolist(), given.tolist(), strict=True))


def _name(error: tuple[int, int], classes: Sequence[str]) -> str:
    true, given = error
    return f"{classes[true]} taken for {classes[given]}" if given >= 0 else f"no valid answer for {classes[true]}"
