"""Weak slices that nobody declared: searched on one half of the golden images, measured on the other.

A slice that was picked because it looks bad looks worse than it is. The images on which it was found therefore never measure it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DEPTH = 2
# Below two standard errors above the rest a leaf is what any split of noise looks like; showing it would only distract.
_MIN_EXCESS = 2.0
_MISSING = ("", "nan", "None", "<NA>")


@dataclass(frozen=True)
class Condition:
    """One part of a rule: an attribute has (not) a value, or a number is below or at least a limit."""

    feature: str
    relation: str
    value: str | float

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return f"{self.feature}{self.relation}{self.value}"
        return f"{self.feature} {self.relation} {self.value:.6g}"

    def holds(self, features: pd.DataFrame) -> BoolArray:
        """Which rows fulfil it."""
        if isinstance(self.value, str):
            equal: BoolArray = features[self.feature].to_numpy(dtype=str) == self.value
            return equal if self.relation == "=" else ~equal
        below: BoolArray = _numbers(features[self.feature]) < self.value
        return below if self.relation == "<" else ~below


@dataclass(frozen=True)
class Rule:
    """Conditions that all hold, e.g. "image.brightness < 0.31 & material=brass"."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return " & ".join(map(str, self.conditions))

    def mask(self, features: pd.DataFrame) -> BoolArray:
        """Which rows the rule holds for."""
        held: BoolArray = np.all([condition.holds(features) for condition in self.conditions], axis=0)
        return held


def feature_table(attributes: pd.DataFrame, values: Mapping[str, Floats]) -> pd.DataFrame:
    """What slices are searched by: the declared attributes (strings) beside named numbers, e.g. of ``slices.image_values``."""
    return attributes.reset_index(drop=True).assign(**values)


def discover(
    errors_N: npt.NDArray[np.generic],
    features: pd.DataFrame,
    clusters_N: Ints | None,
    sample_ids: Sequence[str],
    *,
    min_images: int,
    max_slices: int = 3,
) -> dict[str, BoolArray]:
    """Rules for the weakest parts of the images, worst first, with the images of the other half that they hold for.

    Args:
        errors_N: loss per image, higher is worse. With a champion: its right answers minus the candidate's (+1 broken, -1 fixed, else 0),
            so that a slice where both merely differ is not taken for a weak one; for a first model 1 for a wrong answer.
        features: one row per image; number columns are cut at limits, all others are compared with their values. A missing number counts
            as the median.
        clusters_N: cluster index per image, whose images stay in one half; None: every image by itself.
        sample_ids: what decides the half, so that an image stays in its half when others come or go.
        min_images: the fewest images of a slice, in both halves.
        max_slices: the most rules.

    Returns:
        At most ``max_slices`` disjoint masks over all images, True only in the half on which the rules were not searched. Empty when there
        are too few images, no features, or no part that stands out. Losses on them are unbiased; they are for show, never for blocking.

    Source: Y. Chung, T. Kraska, N. Polyzotis, K. H. Tae, S. E. Whang (2019), Slice finder: automated data slicing for model validation,
    ICDE (decision tree slices); the split in halves is plain data splitting.
    """
    searched = search_half(sample_ids, clusters_N)
    found: dict[str, BoolArray] = {}
    for rule in find_rules(np.asarray(errors_N, dtype=np.float64), features, searched, min_images):
        mask = rule.mask(features) & ~searched
        if int(mask.sum()) >= min_images and len(found) < max_slices:
            found[str(rule)] = mask
    return found


def search_half(sample_ids: Sequence[str], clusters_N: Ints | None) -> BoolArray:
    """The images on which rules are searched: by a digest of the smallest sample id of each image's cluster."""
    clusters = np.arange(len(sample_ids)) if clusters_N is None else clusters_N
    names: dict[int, str] = {}
    for cluster, sample_id in zip(clusters.tolist(), sample_ids, strict=True):
        names[cluster] = min(sample_id, names.get(cluster, sample_id))
    halves = {cluster: hashlib.sha256(f"half:{name}".encode()).digest()[0] % 2 == 0 for cluster, name in names.items()}
    return np.array([halves[cluster] for cluster in clusters.tolist()], dtype=np.bool_)


def find_rules(errors_N: Floats, features: pd.DataFrame, rows: BoolArray, min_images: int) -> list[Rule]:
    """Rules of a small decision tree on the given rows whose loss there stands out, worst first.

    Their loss on these rows is biased: it is what they were picked by.
    """
    if int(rows.sum()) < 2 * min_images or not len(features.columns) or np.ptp(errors_N[rows]) == 0:
        return []
    from sklearn.tree import DecisionTreeRegressor

    conditions, columns = _columns(features, rows, min_images)
    if not conditions:
        return []
    tree = DecisionTreeRegressor(max_depth=_DEPTH, min_samples_leaf=min_images, random_state=0)
    tree.fit(np.stack(columns, axis=1)[rows], errors_N[rows])
    scored = []
    for path in _paths(tree.tree_, conditions):
        rule = _simplified(path)
        excess = _excess(errors_N[rows], rule.mask(features)[rows])
        if excess >= _MIN_EXCESS:
            scored.append((-float(errors_N[rows & rule.mask(features)].mean()), str(rule), rule))
    return [rule for _, _, rule in sorted(scored, key=lambda entry: entry[:2])]


def _columns(features: pd.DataFrame, rows: BoolArray, min_images: int) -> tuple[list[Condition], list[Floats]]:
    """What the tree may ask, in the order of the names: the numbers as they are, and whether an attribute has a value."""
    import pandas as pd

    conditions: list[Condition] = []
    columns: list[Floats] = []
    for name in sorted(map(str, features.columns)):
        if pd.api.types.is_numeric_dtype(features[name]) and not pd.api.types.is_bool_dtype(features[name]):
            conditions.append(Condition(name, "<", float("nan")))
            columns.append(_numbers(features[name]))
            continue
        values, counts = np.unique(features[name].to_numpy(dtype=str)[rows], return_counts=True)
        for value in (str(value) for value in values[counts >= min_images] if value not in _MISSING):
            conditions.append(Condition(name, "=", value))
            columns.append(conditions[-1].holds(features).astype(np.float64))
    return conditions, columns


def _numbers(column: pd.Series) -> Floats:
    numbers = column.to_numpy(dtype=np.float64)
    known = np.isfinite(numbers)
    return np.where(known, numbers, np.median(numbers[known]) if known.any() else 0.0)


def _paths(tree: object, asked: Sequence[Condition]) -> list[list[Condition]]:
    """The conditions on the way to each leaf, for a tree that asked at least one thing."""
    left, right, feature, limits = (getattr(tree, name) for name in ("children_left", "children_right", "feature", "threshold"))
    open_: list[tuple[int, list[Condition]]] = [(0, [])]
    leaves = []
    while open_:
        node, path = open_.pop()
        if left[node] < 0:
            leaves.append(path)
            continue
        no, yes = _answers(asked[feature[node]], float(limits[node]))
        open_ += [(int(left[node]), [*path, no]), (int(right[node]), [*path, yes])]
    return [path for path in leaves if path]


def _answers(asked: Condition, limit: float) -> tuple[Condition, Condition]:
    """The conditions of the lower and of the upper branch. A limit is rounded to what is printed, so that the rule is what it says."""
    if isinstance(asked.value, str):
        return Condition(asked.feature, "≠", asked.value), asked
    rounded = float(f"{limit:.3g}")
    return Condition(asked.feature, "<", rounded), Condition(asked.feature, "≥", rounded)


def _simplified(path: Sequence[Condition]) -> Rule:
    """The path without conditions that others imply, numbers behind attributes."""
    kept: dict[tuple[str, str, str], Condition] = {}
    fixed = {condition.feature for condition in path if condition.relation == "="}
    for condition in path:
        if condition.relation == "≠" and condition.feature in fixed:
            continue
        # A deeper limit of the same direction is the tighter one.
        kept[condition.feature, condition.relation, condition.value if isinstance(condition.value, str) else ""] = condition
    return Rule(tuple(sorted(kept.values(), key=lambda c: (not isinstance(c.value, str), c.feature, c.relation))))


def _excess(errors: Floats, inside: BoolArray) -> float:
    """How many standard errors the loss inside is above the loss outside."""
    if not inside.any() or inside.all():
        return 0.0
    within, outside = errors[inside], errors[~inside]
    error = float(np.sqrt(errors.var() * (1 / len(within) + 1 / len(outside))))
    return float(within.mean() - outside.mean()) / error if error else 0.0
