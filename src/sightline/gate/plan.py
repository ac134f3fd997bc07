"""What a promotion policy can and cannot show on a golden set, before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sightline.config.gate import GateConfig
from sightline.errors import UsageError
from sightline.evaluate.verdict import Frozen
from sightline.gate import mcnemar, power
from sightline.gate.multiplicity import tarone_holm
from sightline.gate.plan_rows import Demand, Part, PlanRow, required_row, slice_rows, swapped_slice_rows
from sightline.gate.worlds import Swaps, Worlds, passes, swap_slices
from sightline.registry.golden import ledger_alpha

__all__ = ["ASSUMED_CHURN", "ASSUMED_TOGETHER", "Golden", "Plan", "PlanRow", "plan", "slice_alarms"]

BoolArray = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

ASSUMED_CHURN = 0.05
ASSUMED_TOGETHER = 0.1
"""Share of the groups whose images change all together. None at all would be the best case, not a plan."""
_SEED = 20
_MOST_WORLDS, _FEWEST_WORLDS, _MOST_DRAWS = 2000, 400, 20_000_000
_MOST_GROUPED, _FEWEST_GROUPED, _MOST_GROUPED_DRAWS = 1000, 200, 4_000_000


@dataclass(frozen=True)
class Golden:
    """The golden images that a plan is made for.

    Attributes:
        num_images: all golden images.
        slices: images per slice, critical ones included.
        masks: where known, which images each slice holds; overlaps are then taken into account. Otherwise slices count as independent.
        clusters_N: the group of related images that each image belongs to; needs the masks. None: each image stands for itself.
    """

    num_images: int
    slices: Mapping[str, int]
    masks: Mapping[str, BoolArray] = field(default_factory=dict)
    clusters_N: Ints | None = None

    def __post_init__(self) -> None:
        """Refuses groups without the images of every slice."""
        if self.clusters_N is not None and set(self.slices) != set(self.masks):
            raise UsageError("slices of grouped images are planned from their masks", remedy="make the golden images with from_masks")

    @classmethod
    def from_masks(cls, num_images: int, masks: Mapping[str, BoolArray], clusters_N: Ints | None = None) -> "Golden":
        """The golden images from the mask of each slice and the group of each image, each of shape (num_images,)."""
        return cls(num_images, {name: int(mask.sum()) for name, mask in masks.items()}, masks, clusters_N)

    @property
    def num_groups(self) -> int:
        """Groups of related images; as many as images where they are not known."""
        return self.num_images if self.clusters_N is None else len(np.unique(self.clusters_N))


class Plan(Frozen):
    """The promotion policy on these golden images, in probabilities.

    Attributes:
        num_images: golden images.
        num_groups: groups of them that count as one observation each.
        num_independent: as how many independent images they count at this churn, in the middle of the simulated golden sets.
        together: assumed share of groups whose images change all together; 0 where every image stands for itself.
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
    num_groups: int
    num_independent: int
    together: float
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


@dataclass(frozen=True)
class Assumed:
    """How two equally good models differ.

    Attributes:
        churn: share of images on which they differ in being right, in (0, 0.5].
        together: share of groups whose images change all together, in [0, 1]; in the others each image changes by itself.
        churn_source: where the churn comes from, in words.
    """

    churn: float
    together: float = ASSUMED_TOGETHER
    churn_source: str = "given"


def plan(golden: Golden, policy: GateConfig, assumed: Assumed | float, attempts: int = 1) -> Plan:
    """The plan of a policy on a golden set. Deterministic; 50 slices of 1 000 images cost about 2 s on one core, in groups about 5 s.

    Where every image stands for itself the figures of each check are exact. Images in groups (``policy.cluster``) are simulated, counted
    like in the gate, with the groups that there are.

    Args:
        golden: how many images there are, and in which slices and groups.
        policy: the margins and levels.
        assumed: the churn alone, or all that is assumed.
        attempts: the number of the look at this golden set, from 1; with the ledger a later look may spend less.

    Raises:
        UsageError: churn, together or attempts are out of range.
    """
    assumed = assumed if isinstance(assumed, Assumed) else Assumed(assumed)
    _check(assumed, attempts)
    alpha = ledger_alpha(policy.alpha, attempts) if policy.alpha_spending == "ledger" else policy.alpha
    parts, swaps = _parts(golden, policy, assumed, alpha)
    demands = [Demand("overall", "overall", policy.margin, alpha)]
    demands += [Demand(name, "critical-slice", policy.critical_margin, alpha) for name in policy.critical_slices]
    like_K = parts[""].worlds.sizes_K if parts[""].worlds else np.ones(1, dtype=np.int64)
    required = [required_row(demand, parts[_key(demand)], like_K) for demand in demands]
    others = {name: part for name, part in parts.items() if name and name not in policy.critical_slices}
    if swaps is None:
        watched, worlds = slice_rows(others, policy), _simulate(golden, policy, alpha, assumed.churn)
    else:
        watched, worlds = swapped_slice_rows(others, policy, swaps), _simulate_groups(parts, demands, swaps)
    # No likelier than its unlikeliest check.
    promoted = min([worlds.promoted, *(row.power_equal for row in required)])
    found = [(_problem(row, assumed.churn), _remedy(row)) for row in required if row.state == "unsupported"]
    found += _too_few_for_metric(parts[""].num_groups, policy)
    return Plan(
        num_images=golden.num_images,
        num_groups=parts[""].num_groups,
        num_independent=round(golden.num_images / parts[""].design_effect),
        together=assumed.together if parts[""].grouped else 0.0,
        churn=assumed.churn,
        churn_source=assumed.churn_source,
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
        notes=tuple(_notes(golden, policy, parts[""], assumed)),
        rows=tuple(sorted([*required, *watched], key=_rank)),
    )


def _check(assumed: Assumed, attempts: int) -> None:
    if not 0 < assumed.churn <= 0.5:
        raise UsageError(
            f"churn is {assumed.churn:g}, expected a share in (0, 0.5]", remedy="give the share of images that change sides, e.g. 0.05"
        )
    if not 0 <= assumed.together <= 1:
        raise UsageError(
            f"together is {assumed.together:g}, expected a share in [0, 1]",
            remedy="give the share of groups that change as a whole, e.g. 0.1",
        )
    if attempts < 1:
        raise UsageError(f"attempts is {attempts}, expected at least 1", remedy="1 is the first look at a golden set")


def _key(demand: Demand) -> str:
    return "" if demand.kind == "overall" else demand.name


def _parts(golden: Golden, policy: GateConfig, assumed: Assumed, alpha: float) -> tuple[dict[str, Part], Swaps | None]:
    """What each check looks at: all images under "", and each slice by name, critical ones without images too; and the groups' swaps."""
    sizes = {"": golden.num_images} | dict.fromkeys(policy.critical_slices, 0) | dict(golden.slices)
    if policy.cluster != "group" or golden.clusters_N is None or golden.num_groups == golden.num_images:
        return {name: Part(size, assumed.churn) for name, size in sizes.items()}, None
    index = np.unique(golden.clusters_N, return_inverse=True)[1]
    order, sizes_K = np.argsort(index, kind="stable"), np.bincount(index).astype(np.int64)
    number = max(_FEWEST_GROUPED, min(_MOST_GROUPED, _MOST_GROUPED_DRAWS // golden.num_images))
    everything = Worlds.draw(sizes_K, assumed.together, number, alpha)
    nothing = np.zeros(golden.num_images, dtype=np.bool_)
    masks = {name: golden.masks.get(name, nothing)[order] for name in sizes if name}
    judged = [mask for name, mask in masks.items() if name not in policy.critical_slices and sizes[name] >= policy.min_slice_images]
    worlds = {"": everything} | {name: everything.part(mask) for name, mask in masks.items()}
    parts = {name: Part(size, assumed.churn, worlds[name], assumed.together) for name, size in sizes.items()}
    return parts, swap_slices(everything, judged, assumed.churn, policy.slice_alpha)


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


def _simulate_groups(parts: Mapping[str, Part], demands: Sequence[Demand], swaps: Swaps) -> _Worlds:
    """The same for images in groups, with the counts and swaps that the gate makes of them."""
    passed = np.ones(len(parts[""].equal.images_W), dtype=np.bool_)
    for demand in demands:
        passed &= passes(parts[_key(demand)].equal, demand.margin, demand.alpha)
    number = len(swaps.alarmed_W)
    return _Worlds(number, float((passed[:number] & ~swaps.alarmed_W).mean()), float(swaps.alarmed_W.mean()))


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


def _too_few_for_metric(num_groups: int, policy: GateConfig) -> list[tuple[str, str]]:
    if policy.metric in {"auto", "accuracy"} or num_groups >= policy.min_clusters:
        return []
    unit = "images" if policy.cluster == "image" else "groups of images"
    problem = f"{policy.metric} is inconclusive below gate.min_clusters={policy.min_clusters} {unit}, there are {num_groups}"
    return [(problem, f"label {policy.min_clusters - num_groups} more")]


def _notes(golden: Golden, policy: GateConfig, everything: Part, assumed: Assumed) -> list[str]:
    notes = []
    if everything.grouped:
        notes.append(
            f"assumed: in {assumed.together * 100:g} % of the groups all images change together, in the others each by itself (--together)"
        )
        notes.append(
            f"images in groups are simulated, up to {len(everything.equal.images_W)} golden sets: a power is right to about 3 points"
        )
    elif golden.clusters_N is None:
        notes.append(
            "each image counts by itself: where images come in groups (clips, parts), the groups count, and there are fewer of them"
        )
    elif golden.num_groups < golden.num_images:
        notes.append(f"gate.cluster=image: that the images come in {golden.num_groups} groups is not taken into account")
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
