"""Checks of a candidate against a reference on the same images."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isfinite

from sightline.config.gate import GateConfig
from sightline.evaluate.accuracy import Accuracy
from sightline.evaluate.f1 import MacroF1
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Check, CheckKind, CheckOutcome
from sightline.gate import bounds, mcnemar, tango
from sightline.gate.clusters import Effective, effective, independent
from sightline.gate.evidence import BoolArray, Evidence, Pair
from sightline.gate.first import share_numbers
from sightline.gate.metric import metric_checks, score_regressions, tolerated
from sightline.gate.multiplicity import benjamini_hochberg, tarone_holm


@dataclass(frozen=True)
class Question:
    """A non-inferiority question: where, at which margin and level; ``discordance`` stands in for that of a slice with few images."""

    name: str
    kind: CheckKind
    slice: str
    margin: float
    alpha: float
    discordance: float = 0.0


def champion_checks(evidence: Evidence, champion: Answers, policy: GateConfig) -> list[Check]:
    """Overall and critical slices by non-inferiority, all other slices by regression detection."""
    checks = (_macro_f1_checks if policy.metric == "macro-f1" else _accuracy_checks)(evidence, champion, policy)
    if not evidence.same_model:
        return checks
    return [_identical(check) if check.kind in {"overall", "critical-slice"} else check for check in checks]


def _accuracy_checks(evidence: Evidence, champion: Answers, policy: GateConfig) -> list[Check]:
    alpha = evidence.alpha or policy.alpha
    everything = counts(evidence, champion)
    found = {name: counts(evidence, champion, mask) for name, mask in evidence.masks.items()}
    checks = [non_inferiority(Question("overall", "overall", "", policy.margin, alpha), everything)]
    for name in policy.critical_slices:
        # Intersection-union: all of them must pass, so each is tested at the full level.
        question = Question(name, "critical-slice", name, policy.critical_margin, alpha, everything.plain.discordance)
        checks.append(non_inferiority(question, found[name]))
    others = {name: part for name, part in found.items() if name not in policy.critical_slices}
    judged = _regressions(others, policy) if everything.is_plain else _grouped_regressions(evidence, champion, others, policy)
    return checks + [tolerated(check, policy) for check in judged]


def _grouped_regressions(evidence: Evidence, champion: Answers, found: Mapping[str, Effective], policy: GateConfig) -> list[Check]:
    """Where images come in groups, whole groups are swapped: exact however much a group's images move together.

    Counts divided by a design effect would be valid too, but of ten groups of twenty images that all broke they leave a handful of
    images, while a swap of ten groups has 1 024 outcomes.
    """
    metric = Accuracy(evidence.correct(champion), evidence.correct(evidence.candidate))
    checks = score_regressions(metric, {name: evidence.masks[name] for name in found}, evidence.clusters_N, policy)
    pairs = {name: part.plain for name, part in found.items()}
    return [c.model_copy(update={"num_broken": pairs[c.name].num_broken, "num_fixed": pairs[c.name].num_fixed}) for c in checks]


def _macro_f1_checks(evidence: Evidence, champion: Answers, policy: GateConfig) -> list[Check]:
    num_classes = int(max(evidence.labels_N.max(), champion.predicted_N.max(), evidence.candidate.predicted_N.max())) + 1
    metric = MacroF1(evidence.labels_N, champion.predicted_N, evidence.candidate.predicted_N, num_classes)
    return metric_checks(metric, evidence.masks, evidence.clusters_N, policy, evidence.alpha or policy.alpha)


def counts(evidence: Evidence, reference: Answers, mask: BoolArray | None = None, *, grouped: bool = True) -> Effective:
    """Right and wrong of reference and candidate, on some images; ``grouped`` reduces them to independent images, see ``effective``."""
    rows = slice(None) if mask is None else mask
    clusters = evidence.clusters_N[rows] if grouped and evidence.clusters_N is not None else None
    old, new = evidence.correct(reference)[rows], evidence.correct(evidence.candidate)[rows]
    return effective(old, new, clusters, alpha=evidence.alpha) if evidence.alpha else effective(old, new, clusters)


def parity_checks(evidence: Evidence, eager: Answers, policy: GateConfig) -> list[Check]:
    """Compiled against eager: non-inferiority of accuracy (required), and the share of equal answers (for information).

    Each image counts by itself: both are the same weights, and what rounding changes lies near a decision boundary, not in a group of
    images. What a group as a whole may lose is bounded by the comparison of the compiled model with the champion.
    """
    found = counts(evidence, eager, grouped=False)
    parity = non_inferiority(Question("parity with the trained model", "parity", "", policy.parity_margin, policy.alpha), found)
    same = int((eager.predicted_N == evidence.candidate.predicted_N).sum())
    num_images = found.plain.num_images
    share = same / max(num_images, 1)
    detail = f"{same} of {num_images} images get the same class from the compiled and from the trained model"
    values = {"num_images": num_images, "value": share, "estimate": share, "detail": detail}
    return [parity, Check(name="agreement with the trained model", kind="agreement", required=False, outcome="info", **values)]


def discovered_checks(evidence: Evidence, policy: GateConfig) -> list[Check]:
    """Weak slices that nobody declared, with the numbers of the half on which they were not found; for information."""
    checks = []
    for name, mask in evidence.discovered.items():
        if evidence.champion is None:
            numbers = share_numbers(evidence.correct(evidence.candidate)[mask], policy.slice_alpha)
        else:
            numbers = pair_numbers(counts(evidence, evidence.champion, mask), policy.slice_alpha)
        detail = "found on one half of the golden images, measured on the other; never blocks"
        checks.append(Check(name=name, kind="discovered-slice", slice=name, required=False, outcome="info", detail=detail, **numbers))
    return checks


def non_inferiority(question: Question, found: Effective | Pair) -> Check:
    """Pass when the loss is shown to be smaller than the margin, fail when a loss is shown, else inconclusive with the missing labels."""
    found = independent(found) if isinstance(found, Pair) else found
    pair, promotion = found.plain, found.promotion
    p_value, test = tango.non_inferiority_p(promotion.num_broken, promotion.num_fixed, promotion.num_images, question.margin)
    p_worse = found.p_worse()
    outcome: CheckOutcome = "pass" if p_value <= question.alpha else "fail" if p_worse <= question.alpha else "inconclusive"
    needed = labels_needed(question, found) if outcome == "inconclusive" else None
    return Check(
        name=question.name,
        kind=question.kind,
        slice=question.slice,
        required=True,
        outcome=outcome,
        p_value=p_value,
        margin=question.margin,
        test=f"{test}, non-inferiority" + (f", design effect {found.design_effect:.2f}" if found.design_effect > 1 else ""),
        labels_needed=needed,
        detail=_detail(outcome, question, (pair, p_worse), needed),
        **pair_numbers(found, question.alpha),
    )


def _detail(outcome: CheckOutcome, question: Question, worse: tuple[Pair, float], needed: int | None) -> str:
    pair, p_worse = worse
    if not pair.num_images:
        return f"no golden image; label about {needed}"
    if outcome == "pass":
        return f"a loss of {question.margin * 100:g} points is ruled out"
    if outcome == "fail":
        return f"worse: {pair.num_broken} images broken, {pair.num_fixed} fixed (p = {p_worse:.2g})"
    return f"not enough images to decide; label about {needed} more" if needed else "not shown; the loss is near the margin, train further"


def labels_needed(question: Question, found: Effective) -> int | None:
    """Further labelled images for 80 % power at the observed discordance; None when the estimate itself is near the margin.

    Images that come in groups are counted in images of such groups: as many times more as the design effect says.
    """
    pair = found.plain
    if pair.difference <= -question.margin / 2:
        return None
    # A dozen images say little about a rate: below 30 the discordance of all golden images counts too.
    discordance = pair.discordance if pair.num_images >= 30 else max(pair.discordance, question.discordance)
    effect = found.design_effect if isfinite(found.design_effect) else 1.0
    total = ceil(effect * bounds.images_for_difference(question.margin, discordance, question.alpha))
    if total <= pair.num_images:
        # Equal models would have been shown by now: the observed loss eats into the margin.
        total = ceil(effect * bounds.images_for_difference(question.margin + min(pair.difference, 0.0), discordance, question.alpha))
    return max(total - pair.num_images, 1)


def _regressions(found: Mapping[str, Effective], policy: GateConfig) -> list[Check]:
    tested = {name: part for name, part in found.items() if part.plain.num_images >= policy.min_slice_images}
    pairs = [part.plain for part in tested.values()]
    p_values = [mcnemar.mid_p(pair.num_broken, pair.num_fixed) for pair in pairs]
    smallest = [mcnemar.smallest_mid_p(pair.num_broken + pair.num_fixed) for pair in pairs]
    blocked = tarone_holm(p_values, smallest, policy.slice_alpha)
    warned = benjamini_hochberg(p_values, policy.warn_fdr)
    checks = []
    for index, (name, part) in enumerate(tested.items()):
        outcome: CheckOutcome = "fail" if blocked.rejected[index] else "warn" if warned.rejected[index] else "pass"
        detail = {
            "fail": f"a regression is shown (Tarone-Holm over {len(tested)} slices, threshold p ≤ {blocked.threshold:.2g})",
            "warn": f"a regression is likely (false discovery rate {policy.warn_fdr:.0%})",
            "pass": "no regression shown",
        }[outcome]
        values = {
            "p_value": p_values[index],
            "test": "mid-p McNemar, regression",
            "detail": detail,
            **pair_numbers(part, policy.slice_alpha),
        }
        checks.append(Check(name=name, kind="slice", slice=name, required=True, outcome=outcome, **values))
    small = f"fewer than {policy.min_slice_images} images, shown only"
    return checks + [
        Check(name=name, kind="slice", slice=name, required=False, outcome="info", detail=small, **pair_numbers(part, policy.slice_alpha))
        for name, part in found.items()
        if name not in tested
    ]


def pair_numbers(found: Effective, alpha: float) -> dict[str, object]:
    """Images, both shares of right answers, their difference and its interval at ``alpha`` each side, as fields of a check."""
    pair = found.plain
    numbers: dict[str, object] = {"num_images": pair.num_images, "num_broken": pair.num_broken, "num_fixed": pair.num_fixed}
    if found.num_clusters < pair.num_images:
        numbers["num_clusters"] = found.num_clusters
    if not pair.num_images:
        return numbers
    interval = (-1.0, 1.0)
    if isfinite(found.design_effect):
        # Divided, not rounded: the estimate stays in the middle of what it is an interval of.
        broken, fixed, images = (count / found.design_effect for count in (pair.num_broken, pair.num_fixed, pair.num_images))
        interval = tango.interval(broken, fixed, images, 1 - 2 * alpha)
    return numbers | {
        "reference": pair.num_correct_old / pair.num_images,
        "value": pair.num_correct_new / pair.num_images,
        "estimate": pair.difference,
        "interval": interval,
    }


def _identical(check: Check) -> Check:
    if not check.num_images:
        return check
    return check.model_copy(update={"outcome": "pass", "labels_needed": None, "detail": "the candidate is the champion, bit for bit"})
