"""What a promotion policy can and cannot show on a golden set, before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from sightline.config.gate import GateConfig
from sightline.errors import UsageError
from sightline.evaluate.verdict import Frozen
from sightline.gate import mcnemar, power
from sightline.gate.multiplicity import tarone_holm
from sightline.registry.golden import ledger_alpha

BoolArray = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
RowKind = Literal["overall", "critical-slice", "slice"]
RowState = Literal["supported", "unsupported", "watched", "shown"]

ASSUMED_CHURN = 0.05
_SEEN_DROP = 0.1
_SEED = 20
_MOST_WORLDS, _FEWEST_WORLDS, _MOST_DRAWS = 2000, 400, 20_000_000


@dataclass(frozen=True)
class Golden:
    """The golden images that a plan is made for.

    Attributes:
        num_images: all golden images.
        slices: images per slice, critical ones included.
        masks: where known, which images each slice holds; overlaps are then taken into account. Otherwise slices count as independent.
    """

    num_images: int
    slices: Mapping[str, int]
    masks: Mapping[str, BoolArray] = field(default_factory=dict)

    @classmethod
    def from_masks(cls, num_images: int, masks: Mapping[str, BoolArray]) -> "Golden":
        """The golden images from the mask of each slice, each of shape (num_images,)."""
        return cls(num_images, {name: int(mask.sum()) for name, mask in masks.items()}, masks)


class PlanRow(Frozen):
    """What one check can show.

    Attributes:
        kind: overall and critical slices must be shown not to be worse; a slice must only not be shown to be worse.
        margin: of the non-inferiority test; None for a slice.
        alpha: level of the non-inferiority test; for a slice the p-value that is needed beside the other slices.
        power_equal: probability that an equal model passes this check; for a slice, that it raises no alarm.
        power_5: probability that this check alone blocks a model that lost 5 points here.
        power_10: the same for 10 points.
        false_promote: largest probability, over all churns, that a model worse by the margin passes this check; None for a slice.
        images_needed: images for 80 % power: to pass an equal model, or for a slice to show a loss of 10 points.
        labels_missing: how many of them are not there.
        smallest_margin: the smallest margin that these images support with 80 % power; None for a slice, or where there is none.
        smallest_visible_drop: the smallest loss that is shown with 80 % power; None where there is none up to 50 points.
        state: supported, unsupported (less than 80 % power), watched (a slice that may block), shown (too small to be judged).
    """

    name: str
    kind: RowKind
    num_images: int
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


class Plan(Frozen):
    """The promotion policy on these golden images, in probabilities.

    Attributes:
        num_images: golden images.
        churn: share of images on which equally good models are expected to differ in being right.
        churn_source: where the churn comes from, in words.
        attempt: the look at the golden set that this is for; ``alpha`` is what it may spend.
        promote_equal: probability that an equally good model is promoted.
        block_equal: probability that it is not, for any of the reasons.
        false_alarm: probability that it is blocked by a slice, part of ``block_equal``.
        promote_worse: upper bound of the probability of promoting a model that loses the margin overall or on any critical slice.
        num_worlds: simulated worlds behind the two probabilities for an equal model.
        supported: every required check passes an equal model with 80 % power.
        problems: what is not supported, one line each.
        remedies: what to do about each problem, in the same order.
        notes: what the numbers assume.
        rows: one per check, worst first.
    """

    num_images: int
    churn: float
    churn_source: str
    attempt: int
    alpha: float
    promote_equal: float
    block_equal: float
    false_alarm: float
    promote_worse: float
    num_worlds: int
    supported: bool
    problems: tuple[str, ...]
    remedies: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[PlanRow, ...]


def plan(golden: Golden, policy: GateConfig, churn: float, attempts: int = 1, *, churn_source: str = "given") -> Plan:
    """The plan of a policy on a golden set. Deterministic; 50 slices of 1 000 images cost about 2 s on one core.

    Args:
        golden: how many images there are, and in which slices.
        policy: the margins and levels.
        churn: share of images on which old and new model are expected to differ in being right, in (0, 0.5].
        attempts: the number of the look at this golden set, from 1; with the ledger a later look may spend less.
        churn_source: where the churn comes from, in words.

    Raises:
        UsageError: churn or attempts are out of range.
    """
    if not 0 < churn <= 0.5:
        raise UsageError(
            f"churn is {churn:g}, expected a share in (0, 0.5]", remedy="give the share of images that change sides, e.g. 0.05"
        )
    if attempts < 1:
        raise UsageError(f"attempts is {attempts}, expected at least 1", remedy="1 is the first look at a golden set")
    alpha = ledger_alpha(policy.alpha, attempts) if policy.alpha_spending == "ledger" else policy.alpha
    required = [_required_row("overall", "overall", golden.num_images, (policy.margin, alpha, churn))]
    for name in policy.critical_slices:
        question = (policy.critical_margin, alpha, churn)
        required.append(_required_row(name, "critical-slice", golden.slices.get(name, 0), question))
    others = {name: size for name, size in golden.slices.items() if name not in policy.critical_slices}
    watched = _slice_rows(others, policy, churn)
    worlds = _simulate(golden, policy, alpha, churn)
    # No likelier than its unlikeliest check, which is known exactly.
    promoted = min([worlds.promoted, *(row.power_equal for row in required)])
    found = [(_problem(row, churn), _remedy(row)) for row in required if row.state == "unsupported"] + _too_few_for_metric(golden, policy)
    return Plan(
        num_images=golden.num_images,
        churn=churn,
        churn_source=churn_source,
        attempt=attempts,
        alpha=alpha,
        promote_equal=promoted,
        block_equal=1 - promoted,
        false_alarm=worlds.alarmed,
        promote_worse=max(row.false_promote or 0.0 for row in required),
        num_worlds=worlds.number,
        supported=not found,
        problems=tuple(problem for problem, _ in found),
        remedies=tuple(remedy for _, remedy in found),
        notes=tuple(_notes(golden, policy)),
        rows=tuple(sorted([*required, *watched], key=_rank)),
    )


def _required_row(name: str, kind: RowKind, num_images: int, question: tuple[float, float, float]) -> PlanRow:
    margin, alpha, churn = question
    equal = power.pass_probability(num_images, margin, alpha, churn)
    supported, needed = equal >= power.POWER, _images_needed(margin, alpha, churn)
    return PlanRow(
        name=name,
        kind=kind,
        num_images=num_images,
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


@lru_cache(maxsize=256)
def _images_needed(margin: float, alpha: float, churn: float) -> int:
    return power.images_needed(margin, alpha, churn)


def _slice_rows(slices: Mapping[str, int], policy: GateConfig, churn: float) -> list[PlanRow]:
    judged = [size for size in slices.values() if size >= policy.min_slice_images]
    threshold = policy.slice_alpha / _divisor(judged, policy.slice_alpha, churn)
    needed = power.images_to_see(_SEEN_DROP, threshold, churn)
    return [_slice_row(name, size, (threshold, churn, needed), judged=size >= policy.min_slice_images) for name, size in slices.items()]


def _slice_row(name: str, num_images: int, question: tuple[float, float, int], *, judged: bool) -> PlanRow:
    threshold, churn, needed = question
    alarm, see_5, see_10 = (power.detection_probability(num_images, threshold, churn, loss) if judged else 0.0 for loss in (0, 0.05, 0.1))
    return PlanRow(
        name=name,
        kind="slice",
        num_images=num_images,
        alpha=threshold,
        power_equal=1 - alarm,
        power_5=see_5,
        power_10=see_10,
        images_needed=needed,
        labels_missing=0 if judged and see_10 >= power.POWER else max(needed - num_images, 1),
        smallest_visible_drop=power.smallest_visible_drop(num_images, threshold, churn) if judged else None,
        state="watched" if judged else "shown",
    )


def _divisor(judged: Sequence[int], alpha: float, churn: float) -> int:
    """By how much slices divide their level when the models are equal: those with too few discordant images to alarm cost nothing."""
    smallest = [mcnemar.smallest_mid_p(round(size * churn)) for size in judged]
    return next(number for number in range(1, len(judged) + 2) if sum(p <= alpha / number for p in smallest) <= number)


@dataclass(frozen=True)
class _Worlds:
    """Shares of simulated worlds with equally good models."""

    number: int
    promoted: float
    alarmed: float


def _simulate(golden: Golden, policy: GateConfig, alpha: float, churn: float) -> _Worlds:
    """Equal models on these slices, judged by the regions of the required tests and by the real multiplicity procedure."""
    names = list(golden.slices)
    broken, fixed = _draw(golden, names, churn)
    passed = _passes(broken[:, 0], fixed[:, 0], golden.num_images, (policy.margin, alpha))
    for name in policy.critical_slices:
        if name not in golden.slices:
            passed &= False
            continue
        column = 1 + names.index(name)
        passed &= _passes(broken[:, column], fixed[:, column], golden.slices[name], (policy.critical_margin, alpha))
    judged = [
        1 + index
        for index, name in enumerate(names)
        if name not in policy.critical_slices and golden.slices[name] >= policy.min_slice_images
    ]
    alarmed = slice_alarms(broken[:, judged], fixed[:, judged], policy.slice_alpha)
    return _Worlds(len(broken), float((passed & ~alarmed).mean()), float(alarmed.mean()))


def _draw(golden: Golden, names: Sequence[str], churn: float) -> tuple[Ints, Ints]:
    """Broken and fixed images per world: all golden images in column 0, then each slice."""
    rng = np.random.default_rng(_SEED)
    worlds = max(_FEWEST_WORLDS, min(_MOST_WORLDS, _MOST_DRAWS // max(golden.num_images, 1)))
    if not golden.masks:
        sizes = np.array([golden.num_images, *(golden.slices[name] for name in names)])
        broken = rng.binomial(sizes, churn / 2, (worlds, len(sizes)))
        return broken, rng.binomial(sizes - broken, churn / 2 / (1 - churn / 2))
    member = np.stack([np.ones(golden.num_images, dtype=np.float32), *(golden.masks[name].astype(np.float32) for name in names)], axis=1)
    chunk = max(1, 4_000_000 // max(golden.num_images, 1))
    broken_parts, fixed_parts = [], []
    for start in range(0, worlds, chunk):
        draw = rng.random((min(chunk, worlds - start), golden.num_images), dtype=np.float32)
        broken_parts.append((draw < churn / 2).astype(np.float32) @ member)
        fixed_parts.append((draw >= 1 - churn / 2).astype(np.float32) @ member)
    return np.concatenate(broken_parts).astype(np.int64), np.concatenate(fixed_parts).astype(np.int64)


def _passes(broken: Ints, fixed: Ints, num_images: int, question: tuple[float, float]) -> BoolArray:
    result: BoolArray = fixed >= power.promotion_region(num_images, *question).fixed_from[broken]
    return result


def slice_alarms(broken: Ints, fixed: Ints, alpha: float) -> BoolArray:
    """In which worlds any slice is shown to be worse by Tarone-Holm over mid-p McNemar.

    Args:
        broken: broken images, shape (worlds, slices).
        fixed: fixed images, the same shape.
        alpha: family-wise error over the slices.
    """
    p_values, smallest = np.ones(broken.shape), np.ones(broken.shape)
    base = int(fixed.max(initial=0)) + 1
    codes, inverse = np.unique(broken * base + fixed, return_inverse=True)
    if len(codes):
        pairs = [divmod(int(code), base) for code in codes]
        p_values = np.array([mcnemar.mid_p(b, f) for b, f in pairs])[inverse].reshape(broken.shape)
        smallest = np.array([mcnemar.smallest_mid_p(b + f) for b, f in pairs])[inverse].reshape(broken.shape)
    alarmed = np.zeros(len(broken), dtype=np.bool_)
    for world in np.flatnonzero((p_values <= alpha).any(axis=1)):
        alarmed[world] = bool(tarone_holm(p_values[world].tolist(), smallest[world].tolist(), alpha).rejected.any())
    return alarmed


def _problem(row: PlanRow, churn: float) -> str:
    margin, needed = f"{(row.margin or 0) * 100:g} points", f"about {row.images_needed:,} images".replace(",", " ")
    return f"{row.name}: {margin} need {needed} at {churn * 100:g} % churn, there are {row.num_images} (power {row.power_equal:.0%})"


def _remedy(row: PlanRow) -> str:
    key = "gate.margin" if row.kind == "overall" else "gate.critical_margin"
    label = f"label {row.labels_missing:,} more".replace(",", " ")
    return f"{label}, or set {key}={row.smallest_margin:g}" if row.smallest_margin else f"{label}; no margin up to 50 points is supported"


def _too_few_for_metric(golden: Golden, policy: GateConfig) -> list[tuple[str, str]]:
    if policy.metric in {"auto", "accuracy"} or golden.num_images >= policy.min_clusters:
        return []
    problem = f"{policy.metric} is inconclusive below gate.min_clusters={policy.min_clusters} images, there are {golden.num_images}"
    return [(problem, f"label {policy.min_clusters - golden.num_images} more")]


def _notes(golden: Golden, policy: GateConfig) -> list[str]:
    notes = ["each image counts by itself: where images come in groups (clips, parts), the groups count, and there are fewer of them"]
    if golden.slices and not golden.masks:
        notes.append(
            "only the sizes of the slices are known, so they count as independent; shared images make promotion of an equal model likelier"
        )
    if policy.metric not in {"auto", "accuracy"}:
        notes.append(f"the figures are for right and wrong answers per image; for {policy.metric} they are a guide, not a guarantee")
    return notes


def _rank(row: PlanRow) -> tuple[int, float, str]:
    """Worst first: what blocks everything, then by how little a row can show."""
    order = {"unsupported": 0, "supported": 1, "watched": 2, "shown": 3}
    return order[row.state], row.power_equal if row.margin is not None else row.power_10, row.name
