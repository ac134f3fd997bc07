"""Promotion rules that are in use, side by side on the same worlds; each is a function of counts per world."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.gate.plan import slice_alarms
from sightline.gate.power import promotion_region
from tests.stats.worlds import BoolArray, Worlds

Z = 1.6448536


@dataclass(frozen=True)
class Policy:
    """The same demands for every rule: margins overall and on critical slices, and 5 % errors."""

    margin: float = 0.03
    critical: tuple[str, ...] = ()
    critical_margin: float = 0.05
    alpha: float = 0.05
    slice_change: float = 0.05
    min_accuracy: float = 0.85
    min_slice_images: int = 20


@dataclass(frozen=True)
class Counts:
    """Per world and slice: images that are broken, fixed, right before and right after; column 0 holds all images."""

    names: tuple[str, ...]
    sizes_S: npt.NDArray[np.int64]
    broken_WS: npt.NDArray[np.int64]
    fixed_WS: npt.NDArray[np.int64]
    old_WS: npt.NDArray[np.int64]
    new_WS: npt.NDArray[np.int64]

    @property
    def change(self) -> npt.NDArray[np.float64]:
        """Accuracy of the new model minus the old one's, shape (worlds, slices)."""
        return (self.fixed_WS - self.broken_WS) / self.sizes_S

    def judged(self, policy: Policy) -> list[int]:
        """The columns of the slices that are not critical and not too small."""
        return [i for i, name in enumerate(self.names) if i and name not in policy.critical and self.sizes_S[i] >= policy.min_slice_images]


def count(worlds: Worlds) -> Counts:
    """The counts of every world."""
    names = ("overall", *worlds.masks)
    member = np.stack([np.ones(worlds.old_WN.shape[1], dtype=np.float32), *(m.astype(np.float32) for m in worlds.masks.values())], axis=1)
    old, new = worlds.old_WN, worlds.new_WN
    counted = [np.rint(part.astype(np.float32) @ member).astype(np.int64) for part in (old & ~new, ~old & new, old, new)]
    return Counts(names, member.sum(axis=0).astype(np.int64), *counted)


Rule = Callable[[Counts, Policy], BoolArray]


def gate(counts: Counts, policy: Policy) -> BoolArray:
    """Sightline's gate: exact paired non-inferiority overall and on critical slices, no regression shown on the others."""
    passed = ~slice_alarms(counts.broken_WS[:, counts.judged(policy)], counts.fixed_WS[:, counts.judged(policy)], policy.alpha)
    for column, margin in _required(counts, policy):
        region = promotion_region(int(counts.sizes_S[column]), margin, policy.alpha).fixed_from
        passed &= counts.fixed_WS[:, column] >= region[counts.broken_WS[:, column]]
    return passed


def not_lower(counts: Counts, _policy: Policy) -> BoolArray:
    """The new number is at least the old number."""
    return counts.change[:, 0] >= 0


def within_margin(counts: Counts, policy: Policy) -> BoolArray:
    """The new number is at most the margin below the old number."""
    return counts.change[:, 0] >= -policy.margin - 1e-12


def thresholds(counts: Counts, policy: Policy) -> BoolArray:
    """Point estimates against an absolute limit and a limit of change, overall and per slice."""
    absolute = counts.new_WS[:, 0] / counts.sizes_S[0] >= policy.min_accuracy
    columns = [*counts.judged(policy), *(column for column, _ in _required(counts, policy) if column)]
    slices = (counts.change[:, columns] >= -policy.slice_change - 1e-12).all(axis=1)
    return absolute & within_margin(counts, policy) & slices


def unpaired_z(counts: Counts, policy: Policy) -> BoolArray:
    """Promoted unless a two-proportion z-test, which takes the two models' images for different ones, shows a loss."""
    images = counts.sizes_S[0]
    pooled = (counts.old_WS[:, 0] + counts.new_WS[:, 0]) / (2 * images)
    error = np.sqrt(np.maximum(2 * pooled * (1 - pooled) / images, 1e-12))
    return counts.change[:, 0] / error > -Z


def paired_wald(counts: Counts, policy: Policy) -> BoolArray:
    """Paired non-inferiority overall and on critical slices with the textbook standard error."""
    passed = np.ones(len(counts.broken_WS), dtype=np.bool_)
    for column, margin in _required(counts, policy):
        images, broken, fixed = counts.sizes_S[column], counts.broken_WS[:, column], counts.fixed_WS[:, column]
        variance = np.maximum(broken + fixed - (fixed - broken) ** 2 / images, 1e-12)
        passed &= (fixed - broken + images * margin) / np.sqrt(variance) >= Z
    return passed


def wald_region(images: int, margin: float) -> npt.NDArray[np.int64]:
    """The paired Wald test as a region: the fewest fixed images with which it promotes, per number of broken ones."""
    broken, fixed = np.arange(images + 1)[:, None], np.arange(images + 1)[None, :]
    distance = fixed - broken + images * margin
    variance = np.maximum(broken + fixed - (fixed - broken) ** 2 / images, 1e-12)
    promotes = (distance / np.sqrt(variance) >= Z) & (broken + fixed <= images)
    return np.where(promotes.any(axis=1), promotes.argmax(axis=1), images + 1)


def _required(counts: Counts, policy: Policy) -> list[tuple[int, float]]:
    return [(0, policy.margin), *((counts.names.index(name), policy.critical_margin) for name in policy.critical)]


RULES: dict[str, Rule] = {
    "this gate": gate,
    "new ≥ old": not_lower,
    "new ≥ old − margin": within_margin,
    "limits on point estimates, also per slice": thresholds,
    "unless significantly worse (unpaired z)": unpaired_z,
    "paired Wald": paired_wald,
}
