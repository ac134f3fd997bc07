"""What each check can show: exact sums where every image stands for itself, simulation where images come in groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, floor, isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import Frozen
from sightline.gate import mcnemar, power
from sightline.gate.worlds import Counts, Ints, Swaps, Worlds, grown, nearly_passes, passes, smallest_margin, swap_p

RowKind = Literal["overall", "critical-slice", "slice"]
RowState = Literal["supported", "unsupported", "watched", "shown"]

_SEEN_DROP = 0.1
_MOST_DRAWS, _GROWN_WORLDS, _MOST_GROWN = 4_000_000, 400, 100_000
# Counted images are rounded towards "worse", so a number of images that is too small by this factor is tried next.
_GROWTH, _CLOSE_ENOUGH = 1.25, 0.03


class PlanRow(Frozen):
    """What one check can show.

    Attributes:
        kind: overall and critical slices must be shown not to be worse; a slice must only not be shown to be worse.
        num_groups: groups of related images that count as one observation each; as many as images where each stands for itself.
        design_effect: by how much the gate divides its counts, in the middle of the simulated golden sets; 1 where each image stands for
            itself; None for a single group, of which nothing is known, and for a slice, on which whole groups are swapped.
        margin: of the non-inferiority test; None for a slice.
        alpha: level of the non-inferiority test; for a slice the p-value that is needed beside the other slices.
        power_equal: probability that an equal model passes this check; for a slice, that it raises no alarm.
        power_5: probability that this check alone blocks a model that lost 5 points here.
        power_10: the same for 10 points.
        false_promote: largest probability, over all churns, that a model worse by the margin passes this check: exact where each image
            stands for itself, else the level; None for a slice.
        images_needed: images for 80 % power: to pass an equal model, or for a slice to show a loss of 10 points. In more groups of the
            same kind.
        labels_missing: how many of them are not there.
        smallest_margin: the smallest margin that these images support with 80 % power; None for a slice, or where there is none.
        smallest_visible_drop: the smallest loss that is shown with 80 % power; None where there is none up to 50 points.
        state: supported, unsupported (less than 80 % power), watched (a slice that may block), shown (too small to be judged).
    """

    name: str
    kind: RowKind
    num_images: int
    num_groups: int
    design_effect: float | None = 1.0
    margin: float | None = None
    alpha: float
    power_equal: float
    power_5: float
    power_10: float
    false_promote: float | None = None
    images_needed: int
    labels_missing: int
    smallest_margin: float | None = None
    smallest_visible_drop: float | None = None
    state: RowState


@dataclass(frozen=True)
class Part:
    """The golden images that a check looks at.

    Attributes:
        worlds: simulated answers on them; None where each image stands for itself.
        churn: share of images on which equally good models differ.
        together: share of groups whose images change all together.
    """

    num_images: int
    churn: float
    worlds: Worlds | None = None
    together: float = 0.0

    @property
    def grouped(self) -> Worlds | None:
        """The worlds, where any two images belong together."""
        return self.worlds if self.worlds is not None and len(self.worlds.sizes_K) < self.num_images else None

    @property
    def num_groups(self) -> int:
        """Groups of related images."""
        return self.num_images if self.worlds is None else len(self.worlds.sizes_K)

    @cached_property
    def equal(self) -> Counts:
        """The counts of equally good models in every world; only for parts with worlds."""
        return _counts(self, 0.0)

    @cached_property
    def design_effect(self) -> float:
        """The median over the worlds, for equally good models."""
        return float(np.median(self.equal.design_effect_W)) if self.grouped else 1.0


def _counts(part: Part, loss: float) -> Counts:
    worlds = part.worlds if part.worlds is not None else Worlds(np.zeros((1, 0), dtype=np.float32), np.zeros(0, dtype=np.int64))
    return worlds.counts(part.churn, loss)


@dataclass(frozen=True)
class Demand:
    """A required non-inferiority test."""

    name: str
    kind: RowKind
    margin: float
    alpha: float


def required_row(demand: Demand, part: Part, like_K: Ints) -> PlanRow:
    """The row of a required test; ``like_K`` are the sizes of groups that more images would come in where there is none yet."""
    return _grouped_row(demand, part) if part.grouped else _exact_row(demand, part, like_K)


def _exact_row(demand: Demand, part: Part, like_K: Ints) -> PlanRow:
    num_images, margin, alpha, churn = part.num_images, demand.margin, demand.alpha, part.churn
    equal = power.pass_probability(num_images, margin, alpha, churn)
    supported, needed = equal >= power.POWER, _exact_need(margin, alpha, churn)
    if not num_images and len(like_K) < like_K.sum():
        needed = _grouped_need(demand, Part(0, churn, None, part.together), like_K)
    return PlanRow(
        name=demand.name,
        kind=demand.kind,
        num_images=num_images,
        num_groups=part.num_groups,
        margin=margin,
        alpha=alpha,
        power_equal=equal,
        power_5=1 - power.pass_probability(num_images, margin, alpha, churn, 0.05),
        power_10=1 - power.pass_probability(num_images, margin, alpha, churn, 0.1),
        false_promote=power.promotion_region(num_images, margin, alpha).size,
        images_needed=needed,
        labels_missing=0 if supported else max(needed - num_images, 1),
        smallest_margin=power.smallest_margin(num_images, alpha, churn),
        smallest_visible_drop=power.smallest_visible_drop(num_images, alpha, churn),
        state="supported" if supported else "unsupported",
    )


def _grouped_row(demand: Demand, part: Part) -> PlanRow:
    sizes_K = part.worlds.sizes_K if part.worlds else np.zeros(0, dtype=np.int64)
    equal, at_5, at_10 = (
        _share(passes(counts, demand.margin, demand.alpha)) for counts in (part.equal, _counts(part, 0.05), _counts(part, 0.1))
    )
    supported, needed = equal >= power.POWER, _grouped_need(demand, part, sizes_K)
    return PlanRow(
        name=demand.name,
        kind=demand.kind,
        num_images=part.num_images,
        num_groups=part.num_groups,
        design_effect=_finite(part.design_effect),
        margin=demand.margin,
        alpha=demand.alpha,
        power_equal=equal,
        power_5=1 - at_5,
        power_10=1 - at_10,
        false_promote=demand.alpha,
        images_needed=needed,
        labels_missing=0 if supported else max(needed - part.num_images, 1),
        smallest_margin=smallest_margin(part.equal, demand.alpha),
        smallest_visible_drop=_first_drop(lambda loss: _share(swap_p(_counts(part, loss)) <= demand.alpha), part.churn),
        state="supported" if supported else "unsupported",
    )


@lru_cache(maxsize=256)
def _exact_need(margin: float, alpha: float, churn: float) -> int:
    return power.images_needed(margin, alpha, churn)


def _grouped_need(demand: Demand, part: Part, sizes_K: Ints) -> int:
    """Images for 80 % power in more groups of these sizes: scaled by the design effect, then corrected by simulation to 3 %."""

    def holds(num_images: int, test: Callable[[Counts, float, float], npt.NDArray[np.bool_]] = nearly_passes) -> bool:
        worlds = min(_GROWN_WORLDS, max(100, _MOST_DRAWS // num_images))
        counts = Worlds.draw(grown(sizes_K, num_images), part.together, worlds, demand.alpha).counts(part.churn)
        return _share(test(counts, demand.margin, demand.alpha)) >= power.POWER

    independent = _exact_need(demand.margin, demand.alpha, part.churn)
    largest = float((sizes_K.astype(np.float64) ** 2).sum() / sizes_K.sum())
    start = ceil(independent * min(part.design_effect, largest))
    if start > _MOST_GROWN:
        return start
    found = _first_images(holds, independent, start)
    while found <= _MOST_GROWN and not holds(found, passes):
        found = ceil(found * (1 + _CLOSE_ENOUGH))
    return found


def _first_images(holds: Callable[[int], bool], low: int, start: int) -> int:
    """The first number of images in ``low`` or more, to 3 %, for which something holds that is expected to from ``start`` on."""
    high = start
    while high <= _MOST_GROWN and not holds(high):
        low, high = high, ceil(high * _GROWTH)
    while high - low > max(1, _CLOSE_ENOUGH * high):
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def slice_rows(parts: Mapping[str, Part], policy: GateConfig) -> list[PlanRow]:
    """The rows of slices that may only block, beside each other, where every image stands for itself."""
    judged = [part.num_images for part in parts.values() if part.num_images >= policy.min_slice_images]
    churn = max((part.churn for part in parts.values()), default=0.0)
    threshold = policy.slice_alpha / _divisor(judged, policy.slice_alpha, churn)
    return [_slice_row(name, part, threshold, judged=part.num_images >= policy.min_slice_images) for name, part in parts.items()]


def _slice_row(name: str, part: Part, threshold: float, *, judged: bool) -> PlanRow:
    num_images, churn = part.num_images, part.churn
    alarm, see_5, see_10 = (
        power.detection_probability(num_images, threshold, churn, loss) if judged else 0.0 for loss in (0, 0.05, _SEEN_DROP)
    )
    needed = _images_to_see(threshold, churn)
    return PlanRow(
        name=name,
        kind="slice",
        num_images=num_images,
        num_groups=part.num_groups,
        alpha=threshold,
        power_equal=1 - alarm,
        power_5=see_5,
        power_10=see_10,
        images_needed=needed,
        labels_missing=0 if judged and see_10 >= power.POWER else max(needed - num_images, 1),
        smallest_visible_drop=power.smallest_visible_drop(num_images, threshold, churn) if judged else None,
        state="watched" if judged else "shown",
    )


def swapped_slice_rows(parts: Mapping[str, Part], policy: GateConfig, swaps: Swaps) -> list[PlanRow]:
    """The rows of slices that may only block, beside each other, where images come in groups."""
    threshold = swaps.raw_p(policy.slice_alpha)
    return [_swapped_row(name, part, (policy, swaps, threshold)) for name, part in parts.items()]


def _swapped_row(name: str, part: Part, judge: tuple[GateConfig, Swaps, float]) -> PlanRow:
    policy, swaps, threshold = judge
    judged = part.num_images >= policy.min_slice_images

    def seen(loss: float) -> float:
        return _share(swaps.adjusted_p(_counts(part, loss)) <= policy.slice_alpha) if judged else 0.0

    see_10 = seen(_SEEN_DROP)
    # A group of m images of which a share t moves as one is worth m / (1 + t (m - 1)) images.
    needed = ceil(_images_to_see(threshold, part.churn) * (1 + part.together * (_largest_effect(part) - 1)))
    return PlanRow(
        name=name,
        kind="slice",
        num_images=part.num_images,
        num_groups=part.num_groups,
        design_effect=None,
        alpha=threshold,
        power_equal=1 - seen(0.0),
        power_5=seen(0.05),
        power_10=see_10,
        images_needed=needed,
        labels_missing=0 if judged and see_10 >= power.POWER else max(needed - part.num_images, 1),
        smallest_visible_drop=_first_drop(seen, part.churn) if judged else None,
        state="watched" if judged else "shown",
    )


def _largest_effect(part: Part) -> float:
    if part.worlds is None or not part.num_images:
        return 1.0
    return float((part.worlds.sizes_K.astype(np.float64) ** 2).sum()) / part.num_images


@lru_cache(maxsize=256)
def _images_to_see(threshold: float, churn: float) -> int:
    return power.images_to_see(_SEEN_DROP, threshold, churn)


def _first_drop(seen: Callable[[float], float], churn: float) -> float | None:
    last = floor(min(0.5, 1 - churn) * 1000)
    found = power.first_true(lambda step: seen(step / 1000) >= power.POWER, 1, last)
    return found / 1000 if found <= last else None


def _divisor(judged: Sequence[int], alpha: float, churn: float) -> int:
    """By how much slices divide their level when the models are equal: those with too few discordant images to alarm cost nothing."""
    smallest = [mcnemar.smallest_mid_p(round(size * churn)) for size in judged]
    return next(number for number in range(1, len(judged) + 2) if sum(p <= alpha / number for p in smallest) <= number)


def _share(found_W: npt.NDArray[np.bool_]) -> float:
    return float(found_W.mean())


def _finite(effect: float) -> float | None:
    return effect if isfinite(effect) else None
