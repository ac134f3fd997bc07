"""Average precision of many weightings of the same images, from boxes that were matched once.

This module imports numba (0.4 s): import it where it is used.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from sightline.evaluate.matched import Matched

Floats = npt.NDArray[np.float64]

# As pycocotools computes them: 7 * 0.01 is not 7 / 100, and that decides ties.
RECALL_LEVELS: Floats = np.linspace(0.0, 1.0, 101)
TINY = float(np.spacing(1))


class Table(NamedTuple):
    """The boxes of one model in the order in which the curve visits them: by class, falling score, image, place in the image.

    Attributes:
        image_D: image row of each box.
        class_start: C + 1 offsets into the boxes.
        run_start_D: first box of the run of equal scores of the same class in the same image; a repeated image repeats its run as a whole.
        tp_DT: boxes that found an object, at each IoU.
        ignored_DT: boxes that count for nothing, at each IoU.
        hit_at: boxes that found an object at any IoU.
        hit_start: C + 1 offsets into ``hit_at``.
        tp_hit: for each class and IoU the boxes that found an object, as places in ``hit_at`` from the class's first on.
        tp_start: C * T + 1 offsets into ``tp_hit``.
        ignored_at: for each class and IoU the boxes that count for nothing.
        ignored_start: C * T + 1 offsets into ``ignored_at``.
        has_runs_C: some image has two boxes of this class and of equal score.
        object_image: image row of each object, by class.
        object_start: C + 1 offsets into ``object_image``.
    """

    image_D: npt.NDArray[np.uint32]
    class_start: npt.NDArray[np.int64]
    run_start_D: npt.NDArray[np.int64]
    tp_DT: npt.NDArray[np.bool_]
    ignored_DT: npt.NDArray[np.bool_]
    hit_at: npt.NDArray[np.uint32]
    hit_start: npt.NDArray[np.int64]
    tp_hit: npt.NDArray[np.uint32]
    tp_start: npt.NDArray[np.int64]
    ignored_at: npt.NDArray[np.uint32]
    ignored_start: npt.NDArray[np.int64]
    has_runs_C: npt.NDArray[np.bool_]
    object_image: npt.NDArray[np.uint32]
    object_start: npt.NDArray[np.int64]


def table_of(matched: Matched, num_thresholds: int) -> Table:
    """What the curve needs of one model at the first ``num_thresholds`` IoU thresholds."""
    order = np.lexsort((matched.image_D, -matched.score_D, matched.class_D))
    image, class_, score = matched.image_D[order], matched.class_D[order], matched.score_D[order]
    tp, ignored = (np.ascontiguousarray(flags[order, :num_thresholds]) for flags in (matched.tp_DT, matched.ignored_DT))
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = (image[1:] != image[:-1]) | (class_[1:] != class_[:-1]) | (score[1:] != score[:-1])
    edges = np.arange(matched.num_classes + 1)
    class_start = np.searchsorted(class_, edges)
    hit_at = np.flatnonzero(tp.any(axis=1))
    hit_start = np.searchsorted(hit_at, class_start)
    by_class = np.argsort(matched.object_class_M, kind="stable")
    tp_hit, tp_start = _listed(tp[hit_at], hit_start)
    ignored_at, ignored_start = _listed(ignored, class_start)
    ignored_at += np.repeat(np.repeat(class_start[:-1], num_thresholds), np.diff(ignored_start)).astype(np.uint32)
    return Table(
        image_D=image.astype(np.uint32),
        class_start=class_start,
        run_start_D=np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0)),
        tp_DT=tp,
        ignored_DT=ignored,
        hit_at=hit_at.astype(np.uint32),
        hit_start=hit_start,
        tp_hit=tp_hit,
        tp_start=tp_start,
        ignored_at=ignored_at,
        ignored_start=ignored_start,
        has_runs_C=np.bincount(class_[~is_first], minlength=matched.num_classes) > 0,
        object_image=matched.object_image_M[by_class].astype(np.uint32),
        object_start=np.searchsorted(matched.object_class_M[by_class], edges),
    )


def _listed(flags_DT: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Per class and threshold the places, counted from the class's first, of the flags that are set; and their offsets."""
    found = [np.flatnonzero(flags_DT[first:last, t]) for first, last in pairwise(starts) for t in range(flags_DT.shape[1])]
    offsets = np.concatenate([[0], np.cumsum([len(places) for places in found])]).astype(np.int64)
    return np.concatenate([*found, np.zeros(0, dtype=np.int64)]).astype(np.uint32), offsets


def class_average_precision(table: Table, weights_BN: npt.NDArray[np.float32]) -> Floats:
    """The AP of each class, averaged over the table's IoU thresholds, as pycocotools gives it for images repeated ``weights`` times.

    Copies of an image stand next to each other, so boxes of equal score in one image take turns. Runs on all cores; the result does not
    depend on their number. Cost on one core: about 4 ms per 1 000 weightings and 1 000 boxes at 10 thresholds.

    Args:
        table: one model.
        weights_BN: whole numbers from 0.

    Returns:
        Shape (B, C), NaN for a class without objects.

    Raises:
        ValueError: weights that are negative, not whole, or so large that counts overflow.
    """
    weights = np.ascontiguousarray(weights_BN, dtype=np.float32)
    if weights.size and (not bool((weights >= 0).all()) or bool((weights != np.floor(weights)).any())):
        raise ValueError("weights must be whole numbers from 0")
    largest = float(weights.max(initial=0.0))
    if largest * max(len(table.image_D), len(table.object_image), 1) >= 2**31:
        raise ValueError(f"a weight of {largest:g} overflows the counts of {len(table.image_D)} boxes")
    result = np.empty((len(weights), len(table.class_start) - 1))
    num_threads = max(1, min(len(os.sched_getaffinity(0)), len(weights)))
    edges = np.linspace(0, len(weights), num_threads + 1).astype(int)

    def run(part: int) -> None:
        rows = slice(edges[part], edges[part + 1])
        _accumulate(weights[rows], table, RECALL_LEVELS, result[rows])

    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(run, range(num_threads)))
    return result


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The machine code of ``function``, kept on disk where that is possible: a container may have no folder to write to."""
    try:
        return numba.njit(function, nogil=True, cache=True)  # type: ignore[no-any-return]
    except RuntimeError:
        return numba.njit(function, nogil=True)  # type: ignore[no-any-return]


@_compiled
def _accumulate(weights_BN: Any, table: Any, levels: Any, result_BC: Any) -> None:
    num_classes, num_thresholds = len(table.class_start) - 1, table.tp_DT.shape[1]
    weights = np.empty(weights_BN.shape[1], np.int32)
    seen = np.empty(len(table.image_D), np.int32)
    hit_weights, hit_inverse = np.empty(len(table.hit_at), np.int32), np.empty(len(table.hit_at), np.float64)
    passed = np.empty(1, np.float64)
    for b in range(len(weights_BN)):
        for n in range(len(weights)):
            weights[n] = np.int32(weights_BN[b, n])
        for k in range(num_classes):
            total = 0
            for m in range(table.object_start[k], table.object_start[k + 1]):
                total += weights[table.object_image[m]]
            if total == 0:
                result_BC[b, k] = np.nan
                continue
            if len(passed) <= total:
                passed = np.empty(total + 1, np.float64)
            _levels_passed(total, levels, passed)
            _count_boxes(table, k, weights, seen, hit_weights, hit_inverse)
            area = 0.0
            for row in range(k * num_thresholds, (k + 1) * num_thresholds):
                if table.has_runs_C[k] or table.ignored_start[row] < table.ignored_start[row + 1]:
                    area += _envelope_with_runs(table, k, row, weights, seen, passed)
                else:
                    hits = table.tp_hit[table.tp_start[row] : table.tp_start[row + 1]]
                    area += _envelope(hits, hit_weights, hit_inverse, passed)
            result_BC[b, k] = area / (num_thresholds * len(levels))


@_compiled
def _levels_passed(total: int, levels: Any, passed: Any) -> None:
    """Sets ``passed[t]`` to the number of recall levels that t of ``total`` objects reach, t = 0..total."""
    first = 0
    for level in range(len(levels)):
        needed = int(np.ceil(levels[level] * total))
        while needed > 0 and (needed - 1) / total >= levels[level]:
            needed -= 1
        while needed / total < levels[level]:
            needed += 1
        for t in range(first, min(needed, total + 1)):
            passed[t] = level
        first = max(first, needed)
    for t in range(first, total + 1):
        passed[t] = len(levels)


@_compiled
def _count_boxes(table: Any, k: int, weights: Any, seen: Any, hit_weights: Any, hit_inverse: Any) -> None:
    """Sets ``seen`` to the boxes of class k up to each box; for its hits, counted from 0, the weight and 1 / seen."""
    running = np.int32(0)
    for d in range(table.class_start[k], table.class_start[k + 1]):
        running += weights[table.image_D[d]]
        seen[d] = running
    hit_at = table.hit_at[table.hit_start[k] : table.hit_start[k + 1]]
    for h in range(len(hit_at)):
        hit_weights[h] = weights[table.image_D[hit_at[h]]]
        hit_inverse[h] = 1.0 / (seen[hit_at[h]] + TINY)


@_compiled
def _envelope(hits: Any, hit_weights: Any, hit_inverse: Any, passed: Any) -> Any:
    """The sum of the interpolated precision over the recall levels.

    Walks from the lowest score up and only over boxes that found an object: elsewhere precision falls, so no envelope starts there.
    A box of weight w stands for w steps, of which the last has the highest precision.
    """
    found = 0
    for h in range(len(hits)):
        found += hit_weights[hits[h]]
    best, area, above = 0.0, 0.0, passed[np.uintp(found)]
    for h in range(len(hits) - 1, -1, -1):
        hit = hits[h]
        precision = found * hit_inverse[hit]
        best = max(best, precision)
        found -= hit_weights[hit]
        below = passed[np.uintp(found)]
        area += best * (above - below)
        above = below
    return area + best * above


@_compiled
def _envelope_with_runs(table: Any, k: int, row: int, weights: Any, seen: Any, passed: Any) -> Any:
    """The same, with boxes that count for nothing and with equal scores in one image, whose copies then take turns; slower."""
    t = row - k * table.tp_DT.shape[1]
    image_D, run_start_D, tp_D, ignored_D = table.image_D, table.run_start_D, table.tp_DT[:, t], table.ignored_DT[:, t]
    hits = table.tp_hit[table.tp_start[row] : table.tp_start[row + 1]]
    skipped = table.ignored_at[table.ignored_start[row] : table.ignored_start[row + 1]]
    hit_at = table.hit_at[table.hit_start[k] : table.hit_start[k + 1]]
    found, num_skipped = 0, 0
    for h in range(len(hits)):
        found += weights[image_D[hit_at[hits[h]]]]
    for s in range(len(skipped)):
        num_skipped += weights[image_D[skipped[s]]]
    best, area = 0.0, 0.0
    h, s = len(hits) - 1, len(skipped) - 1
    while h >= 0:
        last = np.int64(hit_at[hits[h]])
        first = run_start_D[last]
        while last + 1 < len(run_start_D) and run_start_D[last + 1] == first:
            last += 1
        while s >= 0 and skipped[s] > last:
            num_skipped -= weights[image_D[skipped[s]]]
            s -= 1
        weight = weights[image_D[last]]
        boxes = seen[last] - num_skipped
        if first == last:
            best = max(best, found / (boxes + TINY))
            area += best * (passed[found] - passed[found - weight])
            found -= weight
            h -= 1
        else:
            found, best, area = _take_turns(tp_D[first : last + 1], ignored_D[first : last + 1], weight, found, boxes, best, area, passed)
            while h >= 0 and hit_at[hits[h]] >= first:
                h -= 1
    return area + best * passed[0]


@_compiled
def _take_turns(tp_R: Any, ignored_R: Any, weight: int, found: int, boxes: int, best: float, area: float, passed: Any) -> Any:
    """One run of equal scores in one image, walked backwards once for each copy of the image."""
    for _ in range(weight):
        for d in range(len(tp_R) - 1, -1, -1):
            if ignored_R[d]:
                continue
            if tp_R[d]:
                best = max(best, found / (boxes + TINY))
                area += best * (passed[found] - passed[found - 1])
                found -= 1
            boxes -= 1
    return found, best, area
