"""Many slices at once: family-wise error for what blocks, false discovery rate for what warns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Rejections:
    """Which hypotheses are rejected, and the p-value up to which the last step rejected."""

    rejected: npt.NDArray[np.bool_]
    threshold: float


def tarone_holm(p_values: Sequence[float], smallest_p_values: Sequence[float], alpha: float) -> Rejections:
    """Step-down Tarone: hypotheses that cannot reach significance cost nothing, the others share ``alpha`` family-wise.

    At each step K is the smallest whole number such that at most K of the remaining hypotheses could reach alpha / K at all; those with
    p <= alpha / K are rejected, and the step is repeated with the rest. K cannot grow when hypotheses leave, so the sequence is valid.

    Args:
        p_values: one per hypothesis; may be empty.
        smallest_p_values: the smallest p-value that each hypothesis' data size can give.
        alpha: family-wise error rate.

    Source: R. E. Tarone (1990), A modified Bonferroni method for discrete data, Biometrics 46, 515-522; G. Hommel and F. Krummenauer
    (1998), Improvements and modifications of Tarone's multiple test procedure for discrete data, Biometrics 54, 673-681.
    """
    p, smallest = np.asarray(p_values, dtype=np.float64), np.asarray(smallest_p_values, dtype=np.float64)
    rejected = np.zeros(len(p), dtype=np.bool_)
    while True:
        threshold = alpha / _tarone_divisor(smallest[~rejected], alpha)
        found = ~rejected & (p <= threshold)
        if not found.any():
            return Rejections(rejected, threshold)
        rejected |= found


def _tarone_divisor(smallest: npt.NDArray[np.float64], alpha: float) -> int:
    divisor = 1
    while int((smallest <= alpha / divisor).sum()) > divisor:
        divisor += 1
    return divisor


def holm(p_values: Sequence[float], alpha: float) -> Rejections:
    """Holm's step-down: family-wise error at most ``alpha`` under any dependence.

    Source: S. Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 65-70.
    """
    return tarone_holm(p_values, [0.0] * len(p_values), alpha)


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> Rejections:
    """Rejections whose expected share of false ones is at most ``rate`` for independent or positively dependent p-values.

    Source: Y. Benjamini and Y. Hochberg (1995), Controlling the false discovery rate, Journal of the Royal Statistical Society B 57,
    289-300.
    """
    p = np.asarray(p_values, dtype=np.float64)
    ordered = np.sort(p)
    passing = np.flatnonzero(ordered <= rate * np.arange(1, len(p) + 1) / max(len(p), 1))
    threshold = float(ordered[passing[-1]]) if len(passing) else 0.0
    return Rejections((p <= threshold) & bool(len(passing)), threshold)
