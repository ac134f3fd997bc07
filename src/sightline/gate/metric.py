"""Checks of a metric that is no share of right images (AP, mIoU, Dice, macro F1): paired cluster bootstrap and sign flips."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isfinite, sqrt
from statistics import NormalDist

import numpy as np

from sightline.config.gate import GateConfig
from sightline.evaluate.paired import Floats, Ints, PairedMetric
from sightline.evaluate.verdict import Check, CheckKind, CheckOutcome
from sightline.gate.bootstrap import NOMINAL_SHARE, Bootstrap, index_clusters, paired_bootstrap
from sightline.gate.evidence import BoolArray
from sightline.gate.multiplicity import benjamini_hochberg
from sightline.gate.signflip import SliceFlips, sign_flip

# Any number does; a fixed one makes a verdict repeatable.
SEED = 20_251
MAX_RESAMPLES = 100_000
# With this many resamples beyond the limit at the tested level, the error of the p-value by chance is about a third of it.
_TAIL_RESAMPLES = 10


@dataclass(frozen=True)
class _Question:
    name: str
    kind: CheckKind
    slice: str
    margin: float
    alpha: float


def metric_checks(
    metric: PairedMetric,
    masks: Mapping[str, BoolArray],
    clusters_N: Ints | None,
    policy: GateConfig,
    alpha: float,
    own: Mapping[str, PairedMetric] | None = None,
) -> list[Check]:
    """Overall and critical slices by non-inferiority of the metric, all other slices by regression detection on the images' own scores.

    Args:
        metric: reference and candidate on the golden images.
        masks: images of each slice; a critical slice without a mask is inconclusive.
        clusters_N: cluster of each image; None when each image is one.
        policy: margins, levels, ``min_clusters``, ``num_resamples``.
        alpha: what this look may spend on each required non-inferiority test.
        own: slices that have a metric of their own on the same images, such as the AP of one class.
    """
    own = own or {}
    everywhere = _Question("overall", "overall", "", policy.margin, alpha)
    checks = [_non_inferiority(everywhere, metric, clusters_N, policy)]
    slices = score_regressions(metric, masks, clusters_N, policy, own)
    shown = {check.name: check for check in slices}
    for name in policy.critical_slices:
        # Intersection-union: all of them must pass, so each is tested at the full level.
        rows = np.flatnonzero(masks[name]) if name in masks else np.zeros(0, dtype=np.int64)
        question = _Question(name, "critical-slice", name, policy.critical_margin, alpha)
        check = _non_inferiority(question, own.get(name, metric).subset(rows), _clusters_of(clusters_N, rows), policy)
        checks.append(_also_by_scores(check, shown.get(name)))
    return checks + [tolerated(check, policy) for check in slices if check.name not in policy.critical_slices]


def tolerated(check: Check, policy: GateConfig) -> Check:
    """A slice whose shown loss is smaller than ``slice_margin`` warns, and does not block."""
    if check.outcome != "fail" or check.estimate is None or -check.estimate >= policy.slice_margin:
        return check
    detail = f"{check.detail}; smaller than the {policy.slice_margin * 100:g} points that block"
    return check.model_copy(update={"outcome": "warn", "detail": detail})


def _also_by_scores(check: Check, scores: Check | None) -> Check:
    """A critical slice fails on a shown regression of its images' scores too: a set metric can be blind where its scores are not.

    The mIoU of images without any defect is about 0.5 as soon as one pixel is invented, however many more are.
    """
    if scores is None or scores.outcome != "fail":
        return check
    old, new = scores.reference or 0.0, scores.value or 0.0
    return check.model_copy(
        update={"outcome": "fail", "labels_needed": None, "detail": f"{scores.detail}; {scores.metric} {old:.1%} → {new:.1%}"}
    )


def _non_inferiority(question: _Question, metric: PairedMetric, clusters_N: Ints | None, policy: GateConfig) -> Check:
    level = question.alpha * NOMINAL_SHARE
    boot = paired_bootstrap(metric, clusters_N, margin=question.margin, alpha=level, num_resamples=num_resamples(policy, level), seed=SEED)
    outcome: CheckOutcome = "inconclusive"
    if isfinite(boot.estimate) and boot.num_clusters >= policy.min_clusters:
        if boot.interval[1] < 0:
            outcome = "fail"
        if boot.p_value <= level:
            outcome = "pass"
    needed = _labels_needed(question, boot, policy.min_clusters) if outcome == "inconclusive" else None
    return Check(
        name=question.name,
        kind=question.kind,
        slice=question.slice,
        required=True,
        outcome=outcome,
        p_value=boot.p_value,
        margin=question.margin,
        test="paired cluster bootstrap, non-inferiority",
        labels_needed=needed,
        detail=_detail(outcome, question, metric.name, (boot, policy.min_clusters, needed)),
        **bootstrap_numbers(metric.name, boot),
    )


def num_resamples(policy: GateConfig, level: float) -> int:
    """The policy's resamples, or as many as p-values near ``level`` need: a late look at a golden set has a small level."""
    return min(max(policy.num_resamples, ceil(_TAIL_RESAMPLES / level)), MAX_RESAMPLES)


def _labels_needed(question: _Question, boot: Bootstrap, wanted: int) -> int | None:
    """Further labelled images for 80 % power at the observed spread; None when the estimate itself is near the margin."""
    images_per_cluster = boot.num_images / boot.num_clusters if boot.num_clusters else 1.0
    few = ceil(max(wanted - boot.num_clusters, 0) * images_per_cluster)
    if not isfinite(boot.estimate) or boot.estimate <= -question.margin / 2:
        return few or None
    total = _images_for(boot, question.margin, question.alpha)
    if total <= boot.num_images:
        # Equal models would have been shown by now: the observed loss eats into the margin.
        total = _images_for(boot, question.margin + min(boot.estimate, 0.0), question.alpha)
    return max(total - boot.num_images, few, 1)


def _images_for(boot: Bootstrap, distance: float, alpha: float) -> int:
    """Images at which the spread, and the cluster that was not seen (about three at that level), take no more than ``distance``."""
    normal = NormalDist()
    factor = normal.inv_cdf(1 - alpha * NOMINAL_SHARE) + normal.inv_cdf(0.8)
    spread = factor * boot.standard_error * sqrt(boot.num_images)
    unseen = 3.0 * max(boot.reference, boot.value) * boot.num_images / boot.num_clusters
    # distance = spread / sqrt(images) + unseen / images
    return ceil(((spread + sqrt(spread**2 + 4 * distance * unseen)) / (2 * distance)) ** 2)


def _detail(outcome: CheckOutcome, question: _Question, metric: str, found: tuple[Bootstrap, int, int | None]) -> str:
    boot, wanted, needed = found
    if not boot.num_images:
        return f"no golden image; label about {needed}"
    if not isfinite(boot.estimate):
        return f"{metric} is not defined on these {boot.num_images} images"
    if outcome == "pass":
        return f"a loss of {question.margin * 100:g} points of {metric} is ruled out"
    if outcome == "fail":
        return f"worse: {metric} is lower by {-boot.interval[1] * 100:.2g} points at least, {-boot.estimate * 100:.2g} observed"
    if boot.num_clusters < wanted:
        return f"{boot.num_clusters} independent groups of images, {metric} needs {wanted}; label about {needed} more images"
    return f"not enough images to decide; label about {needed} more" if needed else "not shown; the loss is near the margin, train further"


def bootstrap_numbers(name: str, boot: Bootstrap) -> dict[str, object]:
    """What a check says about both models; what is not defined stays empty."""
    counts: dict[str, object] = {"metric": name, "num_images": boot.num_images, "num_clusters": boot.num_clusters}
    values = {"reference": boot.reference, "value": boot.value, "estimate": boot.estimate}
    counts |= {key: value for key, value in values.items() if isfinite(value)}
    return counts | ({"interval": boot.interval} if isfinite(boot.estimate) else {})


def score_regressions(
    metric: PairedMetric,
    masks: Mapping[str, BoolArray],
    clusters_N: Ints | None,
    policy: GateConfig,
    own: Mapping[str, PairedMetric] | None = None,
) -> list[Check]:
    """Regression detection on every slice by sign flips of the images' scores, group by group; see ``metric_checks``."""
    own = own or {}
    tested = {name: mask for name, mask in masks.items() if np.count_nonzero(mask) >= policy.min_slice_images}
    # Warnings look at raw p-values, which must be able to reach the smallest step of the false discovery rate.
    smallest = min(policy.warn_fdr / max(len(tested), 1), policy.slice_alpha)
    num_flips = num_resamples(policy, smallest)
    scores = {name: part.image_scores() for name, part in own.items() if name in tested}
    common = metric.image_scores()
    found = sign_flip(
        _differences(common),
        tested,
        clusters_N,
        num_flips=num_flips,
        seed=SEED,
        own_N={name: _differences(part) for name, part in scores.items()},
    )
    warned = benjamini_hochberg([flips.p_value for flips in found.values()], policy.warn_fdr).rejected
    checks = []
    for (name, flips), warn in zip(found.items(), warned, strict=True):
        outcome: CheckOutcome = "fail" if flips.adjusted_p <= policy.slice_alpha else "warn" if warn else "pass"
        part, rows = own.get(name, metric), np.flatnonzero(masks[name])
        judged = {
            "p_value": flips.p_value,
            "test": f"sign flips of {metric.score_name}, regression",
            "detail": "; ".join([_found(outcome, flips, len(found), policy), *_of_set(part, rows)]),
        }
        numbers = _score_numbers(part.score_name, scores.get(name, common)[:, rows], _clusters_of(clusters_N, rows), policy.slice_alpha)
        checks.append(Check(name=name, kind="slice", slice=name, required=True, outcome=outcome, **judged, **numbers))
    return checks + [
        unjudged_slice(own.get(name, metric), name, np.flatnonzero(mask), (clusters_N, policy))
        for name, mask in masks.items()
        if name not in tested
    ]


def _clusters_of(clusters_N: Ints | None, rows: Ints) -> Ints | None:
    return None if clusters_N is None else clusters_N[rows]


def _of_set(metric: PairedMetric, rows: Ints) -> list[str]:
    """The metric itself on a slice, in words, where it is not what was tested: the scores of the images."""
    if metric.name == metric.score_name:
        return []
    reference, value = metric.subset(rows).at(np.ones((1, len(rows)), dtype=np.float32))[0].tolist()
    defined = isfinite(reference) and isfinite(value)
    return [f"{metric.name} {reference:.3f} → {value:.3f}" if defined else f"{metric.name} is not defined"]


def _score_numbers(name: str, scores_2M: Floats, clusters_M: Ints | None, alpha: float) -> dict[str, object]:
    """Mean image scores of both models and their difference with Student's interval over clusters, for one slice at a time."""
    reference, value = np.nan_to_num(scores_2M, nan=1.0).mean(axis=1).tolist()
    index_M, num_clusters = index_clusters(clusters_M, scores_2M.shape[1])
    estimate, num_images = value - reference, scores_2M.shape[1]
    numbers: dict[str, object] = {"metric": name, "num_images": num_images, "reference": reference, "value": value, "estimate": estimate}
    numbers["num_clusters"] = num_clusters
    if num_clusters < 2:
        return numbers
    from scipy.special import stdtrit

    residuals_K = np.bincount(index_M, weights=_differences(scores_2M) - estimate)
    error = sqrt(num_clusters / (num_clusters - 1) * float((residuals_K**2).sum())) / num_images
    reach = float(stdtrit(num_clusters - 1, 1 - alpha)) * error
    return numbers | {"interval": (max(estimate - reach, -1.0), min(estimate + reach, 1.0))}


def _found(outcome: CheckOutcome, flips: SliceFlips, num_slices: int, policy: GateConfig) -> str:
    adjusted = f"step-down max-T over {num_slices} slices, adjusted p = {flips.adjusted_p:.2g}"
    if outcome == "fail":
        return f"a regression is shown ({adjusted})"
    return (
        f"a regression is likely (false discovery rate {policy.warn_fdr:.0%})" if outcome == "warn" else f"no regression shown ({adjusted})"
    )


def unjudged_slice(metric: PairedMetric, name: str, rows: Ints, context: tuple[Ints | None, GateConfig]) -> Check:
    """A slice with too few images to be judged; ``context`` is the cluster of each image and the policy."""
    clusters_N, policy = context
    detail = f"fewer than {policy.min_slice_images} images, shown only"
    numbers = _slice_numbers(metric, rows, clusters_N)
    return Check(name=name, kind="slice", slice=name, required=False, outcome="info", detail=detail, **numbers)


def _slice_numbers(metric: PairedMetric, rows: Ints, clusters_N: Ints | None) -> dict[str, object]:
    """The metric of both models on a slice, without an interval."""
    num_clusters = len(rows) if clusters_N is None else len(np.unique(clusters_N[rows]))
    numbers: dict[str, object] = {"metric": metric.name, "num_images": len(rows), "num_clusters": num_clusters}
    if len(rows):
        reference, value = map(float, metric.subset(rows).at(np.ones((1, len(rows)), dtype=np.float32))[0])
        estimate = value - reference if isfinite(reference) else value
        values = {"reference": reference, "value": value, "estimate": estimate}
        numbers |= {key: number for key, number in values.items() if isfinite(number)}
    return numbers


def _differences(scores_2N: Floats) -> Floats:
    """Candidate minus reference per image. An image that says nothing has no error: 1, so that swapping the models only swaps the sign."""
    reference_N, candidate_N = np.nan_to_num(scores_2N, nan=1.0)
    difference_N: Floats = candidate_N - reference_N
    return difference_N


def discovered_metric_checks(metric: PairedMetric, weak: Mapping[str, BoolArray], *, is_first: bool) -> list[Check]:
    """Weak slices that nobody declared, with the numbers of the half on which they were not found; for information."""
    checks = []
    for name, mask in weak.items():
        part = metric.subset(np.flatnonzero(mask))
        old, new = part.at(np.ones((1, len(part)), dtype=np.float32))[0].tolist()
        if isfinite(new):
            numbers = (
                {"value": new, "estimate": new}
                if is_first or not isfinite(old)
                else {"reference": old, "value": new, "estimate": new - old}
            )
            detail = "found on one half of the golden images, measured on the other; never blocks"
            checks.append(
                Check(
                    name=name,
                    kind="discovered-slice",
                    slice=name,
                    required=False,
                    outcome="info",
                    metric=metric.name,
                    num_images=len(part),
                    detail=detail,
                    **numbers,
                )
            )
    return checks
