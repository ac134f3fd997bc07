"""Checks of a first model by a metric that is no share of right images: bootstrap bounds on the metric itself."""

from collections.abc import Mapping
from math import ceil, isfinite
from statistics import NormalDist

import numpy as np

from sightline.config.gate import GateConfig
from sightline.evaluate.paired import Ints, PairedMetric
from sightline.evaluate.verdict import Check, CheckOutcome
from sightline.gate.bootstrap import NOMINAL_SHARE, Bootstrap, single_bootstrap
from sightline.gate.evidence import BoolArray
from sightline.gate.metric import MAX_RESAMPLES, SEED, bootstrap_numbers, num_resamples, unjudged_slice
from sightline.gate.multiplicity import holm


def first_metric_checks(
    metric: PairedMetric, masks: Mapping[str, BoolArray], clusters_N: Ints | None, policy: GateConfig, alpha: float
) -> list[Check]:
    """For a first model: the metric must be shown to reach ``min_accuracy``, and no slice may be shown to be below ``min_slice_accuracy``.

    The reference's column of ``metric`` is NaN; see ``metric_checks`` for the arguments.
    """
    checks = [_smallest(metric, clusters_N, policy, alpha)]
    parts = {name: np.flatnonzero(mask) for name, mask in masks.items()}
    parts |= {name: np.zeros(0, dtype=np.int64) for name in policy.critical_slices if name not in parts}
    critical = set(policy.critical_slices)
    judged = [name for name, rows in parts.items() if len(rows) and (len(rows) >= policy.min_slice_images or name in critical)]
    boots = {name: _slice_bootstrap(metric, parts[name], (clusters_N, policy, len(judged))) for name in judged}
    failed = holm([boot.p_below for boot in boots.values()], policy.slice_alpha * NOMINAL_SHARE).rejected
    checks += [_slice_smallest(metric.name, name, (boots[name], bool(bad)), policy) for name, bad in zip(judged, failed, strict=True)]
    unjudged = {name: rows for name, rows in parts.items() if name not in boots}
    # A metric without a reference may hold the candidate twice; it must not be shown as compared with itself.
    rest = [_unjudged(metric, name, rows, (clusters_N, policy)) for name, rows in unjudged.items()]
    return checks + [check.model_copy(update={"reference": None, "estimate": check.value}) for check in rest]


def _smallest(metric: PairedMetric, clusters_N: Ints | None, policy: GateConfig, alpha: float) -> Check:
    level = alpha * NOMINAL_SHARE
    boot = single_bootstrap(
        metric, clusters_N, limit=policy.min_accuracy, alpha=level, num_resamples=num_resamples(policy, level), seed=SEED
    )
    few = max(policy.min_clusters - boot.num_clusters, 0)
    outcome: CheckOutcome = "inconclusive"
    if isfinite(boot.value) and not few:
        outcome = "pass" if boot.p_value <= level else "fail" if boot.interval[1] < policy.min_accuracy else "inconclusive"
    needed = _labels_for_smallest(boot, policy, level) if outcome == "inconclusive" else None
    return Check(
        name="overall",
        kind="overall",
        required=True,
        outcome=outcome,
        p_value=boot.p_value,
        margin=policy.min_accuracy,
        test="cluster bootstrap, smallest value",
        labels_needed=needed,
        detail=_smallest_detail(outcome, metric.name, (boot, policy.min_clusters, needed)),
        **bootstrap_numbers(metric.name, boot),
    )


def _labels_for_smallest(boot: Bootstrap, policy: GateConfig, level: float) -> int | None:
    images_per_cluster = boot.num_images / boot.num_clusters if boot.num_clusters else 1.0
    few = ceil(max(policy.min_clusters - boot.num_clusters, 0) * images_per_cluster)
    if not isfinite(boot.value) or boot.value <= policy.min_accuracy:
        return few or None
    normal = NormalDist()
    factor = normal.inv_cdf(1 - level) + normal.inv_cdf(0.8)
    total = boot.num_images * (factor * boot.standard_error / (boot.value - policy.min_accuracy)) ** 2
    return max(ceil(total) - boot.num_images, few, 1)


def _smallest_detail(outcome: CheckOutcome, metric: str, found: tuple[Bootstrap, int, int | None]) -> str:
    boot, wanted, needed = found
    if not boot.num_images:
        return f"no golden image; label about {needed}"
    if not isfinite(boot.value):
        return f"{metric} is not defined on these {boot.num_images} images"
    if outcome in {"pass", "fail"}:
        return f"shown to {'reach' if outcome == 'pass' else 'be below'} the smallest {metric}"
    if boot.num_clusters < wanted:
        return f"{boot.num_clusters} independent groups of images, {metric} needs {wanted}; label about {needed} more images"
    return f"not enough images to decide; label about {needed} more" if needed else f"not shown to reach the smallest {metric}"


def _slice_bootstrap(metric: PairedMetric, rows: Ints, context: tuple[Ints | None, GateConfig, int]) -> Bootstrap:
    clusters_N, policy, num_slices = context
    level = policy.slice_alpha * NOMINAL_SHARE
    return single_bootstrap(
        metric.subset(rows),
        None if clusters_N is None else clusters_N[rows],
        limit=policy.min_slice_accuracy,
        alpha=level,
        # Holm's first step asks for a p-value that this many resamples can reach.
        num_resamples=min(max(policy.num_resamples, ceil(2 * num_slices / level)), MAX_RESAMPLES),
        seed=SEED,
    )


def _slice_smallest(metric: str, name: str, found: tuple[Bootstrap, bool], policy: GateConfig) -> Check:
    boot, failed = found
    is_critical = name in policy.critical_slices
    outcome: CheckOutcome = "fail" if failed else "pass"
    if not isfinite(boot.value):
        outcome = "inconclusive" if is_critical else "info"
    detail = {
        "fail": f"shown to be below the smallest slice {metric}",
        "pass": f"not shown to be below the smallest slice {metric}",
    }.get(outcome, f"{metric} is not defined on these {boot.num_images} images")
    return Check(
        name=name,
        kind="critical-slice" if is_critical else "slice",
        slice=name,
        required=outcome != "info",
        outcome=outcome,
        p_value=boot.p_below,
        margin=policy.min_slice_accuracy,
        test="cluster bootstrap, smallest slice value",
        detail=detail,
        **bootstrap_numbers(metric, boot),
    )


def _unjudged(metric: PairedMetric, name: str, rows: Ints, context: tuple[Ints | None, GateConfig]) -> Check:
    if name not in context[1].critical_slices:
        return unjudged_slice(metric, name, rows, context)
    needed = context[1].min_slice_images
    values = {"metric": metric.name, "labels_needed": needed, "detail": f"no golden image; label about {needed}"}
    return Check(name=name, kind="critical-slice", slice=name, required=True, outcome="inconclusive", **values)
