"""Checks of a candidate against a reference on the same images."""

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.config.gate import GateConfig
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Check, CheckKind, CheckOutcome
from sightline.gate import bounds, mcnemar, tango
from sightline.gate.evidence import Evidence, Pair
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
    old, new = evidence.correct(champion), evidence.correct(evidence.candidate)
    everything = Pair.count(old, new)
    pairs = {name: Pair.count(old[mask], new[mask]) for name, mask in evidence.masks.items()}
    checks = [non_inferiority(Question("overall", "overall", "", policy.margin, policy.alpha), everything)]
    for name in policy.critical_slices:
        # Intersection-union: all of them must pass, so each is tested at the full level.
        question = Question(name, "critical-slice", name, policy.critical_margin, policy.alpha, everything.discordance)
        checks.append(non_inferiority(question, pairs[name]))
    if evidence.same_model:
        checks = [_identical(check) for check in checks]
    return checks + _regressions({name: pair for name, pair in pairs.items() if name not in policy.critical_slices}, policy)


def parity_checks(evidence: Evidence, eager: Answers, policy: GateConfig) -> list[Check]:
    """Compiled against eager: non-inferiority of accuracy (required), and the share of equal answers (for information)."""
    pair = Pair.count(evidence.correct(eager), evidence.correct(evidence.candidate))
    parity = non_inferiority(Question("parity with the trained model", "parity", "", policy.parity_margin, policy.alpha), pair)
    same = int((eager.predicted_N == evidence.candidate.predicted_N).sum())
    share = same / max(pair.num_images, 1)
    detail = f"{same} of {pair.num_images} images get the same class from the compiled and from the trained model"
    values = {"num_images": pair.num_images, "value": share, "estimate": share, "detail": detail}
    return [parity, Check(name="agreement with the trained model", kind="agreement", required=False, outcome="info", **values)]


def non_inferiority(question: Question, pair: Pair) -> Check:
    """Pass when the loss is shown to be smaller than the margin, fail when a loss is shown, else inconclusive with the missing labels."""
    p_value, test = tango.non_inferiority_p(pair.num_broken, pair.num_fixed, pair.num_images, question.margin)
    regression = mcnemar.mid_p(pair.num_broken, pair.num_fixed)
    outcome: CheckOutcome = "pass" if p_value <= question.alpha else "fail" if regression <= question.alpha else "inconclusive"
    needed = labels_needed(question, pair) if outcome == "inconclusive" else None
    return Check(
        name=question.name,
        kind=question.kind,
        slice=question.slice,
        required=True,
        outcome=outcome,
        p_value=p_value,
        margin=question.margin,
        test=f"{test}, non-inferiority",
        labels_needed=needed,
        detail=_detail(outcome, question, pair, needed),
        **_numbers(pair, question.alpha),
    )


def _detail(outcome: CheckOutcome, question: Question, pair: Pair, needed: int | None) -> str:
    if not pair.num_images:
        return f"no golden image; label about {needed}"
    if outcome == "pass":
        return f"a loss of {question.margin * 100:g} points is ruled out"
    if outcome == "fail":
        regression = mcnemar.mid_p(pair.num_broken, pair.num_fixed)
        return f"worse: {pair.num_broken} images broken, {pair.num_fixed} fixed (mid-p McNemar p = {regression:.2g})"
    return f"not enough images to decide; label about {needed} more" if needed else "not shown; the loss is near the margin, train further"


def labels_needed(question: Question, pair: Pair) -> int | None:
    """Further labelled images for 80 % power at the observed discordance; None when the estimate itself is near the margin."""
    if pair.difference <= -question.margin / 2:
        return None
    # A dozen images say little about a rate: below 30 the discordance of all golden images counts too.
    discordance = pair.discordance if pair.num_images >= 30 else max(pair.discordance, question.discordance)
    total = bounds.images_for_difference(question.margin, discordance, question.alpha)
    if total <= pair.num_images:
        # Equal models would have been shown by now: the observed loss eats into the margin.
        total = bounds.images_for_difference(question.margin + min(pair.difference, 0.0), discordance, question.alpha)
    return max(total - pair.num_images, 1)


def _regressions(pairs: Mapping[str, Pair], policy: GateConfig) -> list[Check]:
    tested = {name: pair for name, pair in pairs.items() if pair.num_images >= policy.min_slice_images}
    p_values = [mcnemar.mid_p(pair.num_broken, pair.num_fixed) for pair in tested.values()]
    smallest = [mcnemar.smallest_mid_p(pair.num_broken + pair.num_fixed) for pair in tested.values()]
    blocked = tarone_holm(p_values, smallest, policy.slice_alpha)
    warned = benjamini_hochberg(p_values, policy.warn_fdr)
    checks = []
    for index, (name, pair) in enumerate(tested.items()):
        outcome: CheckOutcome = "fail" if blocked.rejected[index] else "warn" if warned.rejected[index] else "pass"
        detail = {
            "fail": f"a regression is shown (Tarone-Holm over {len(tested)} slices, threshold p ≤ {blocked.threshold:.2g})",
            "warn": f"a regression is likely (false discovery rate {policy.warn_fdr:.0%})",
            "pass": "no regression shown",
        }[outcome]
        values = {"p_value": p_values[index], "test": "mid-p McNemar, regression", "detail": detail, **_numbers(pair, policy.slice_alpha)}
        checks.append(Check(name=name, kind="slice", slice=name, required=True, outcome=outcome, **values))
    small = f"fewer than {policy.min_slice_images} images, shown only"
    untested = {name: pair for name, pair in pairs.items() if name not in tested}
    return checks + [
        Check(name=name, kind="slice", slice=name, required=False, outcome="info", detail=small, **_numbers(pair, policy.slice_alpha))
        for name, pair in untested.items()
    ]


def _numbers(pair: Pair, alpha: float) -> dict[str, object]:
    counts: dict[str, object] = {"num_images": pair.num_images, "num_broken": pair.num_broken, "num_fixed": pair.num_fixed}
    if not pair.num_images:
        return counts
    return counts | {
        "reference": pair.num_correct_old / pair.num_images,
        "value": pair.num_correct_new / pair.num_images,
        "estimate": pair.difference,
        "interval": tango.interval(pair.num_broken, pair.num_fixed, pair.num_images, 1 - 2 * alpha),
    }


def _identical(check: Check) -> Check:
    if not check.num_images:
        return check
    return check.model_copy(update={"outcome": "pass", "labels_needed": None, "detail": "the candidate is the champion, bit for bit"})
