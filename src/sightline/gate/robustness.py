"""Robustness checks: both models on the same corrupted golden images."""

from math import nan

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import Check
from sightline.gate.clusters import effective
from sightline.gate.evidence import Corrupted, Evidence
from sightline.gate.first import share_numbers
from sightline.gate.paired import Question, non_inferiority, pair_numbers


def robustness_checks(evidence: Evidence, policy: GateConfig) -> list[Check]:
    """One check per corruption: paired non-inferiority to the champion, with the loss against the clean images in ``detail``.

    With ``robustness_margin`` each is required, at the full level of this look, since all of them must pass. Without the margin, and for a
    first model, numbers and intervals are shown only. Images of one cluster count as fewer (``Corrupted.clusters_M``). A corruption that
    the policy asks for and that was not scored is inconclusive, not left out, unless ``robustness_images`` is 0, which turns the family
    off.
    """
    judged = policy.robustness_margin is not None and evidence.champion is not None
    checks = [_judged(part, evidence, policy) if judged else _shown(part, evidence, policy) for part in evidence.corrupted]
    if judged and policy.robustness_images:
        scored = {part.name.split(" (", 1)[0] for part in evidence.corrupted}
        checks += [_missing(name) for name in policy.robustness if name not in scored]
    return checks


def _judged(part: Corrupted, evidence: Evidence, policy: GateConfig) -> Check:
    if part.champion_M is None:
        return _missing(part.name).model_copy(update={"detail": "the champion was not scored on these images"})
    found = effective(part.champion_M, part.candidate_M, part.clusters_M)
    alpha, margin = evidence.alpha or policy.alpha, policy.robustness_margin or 0.0
    check = non_inferiority(Question(name=part.name, kind="robustness", slice="", margin=margin, alpha=alpha), found)
    update: dict[str, object] = {"detail": f"{check.detail}; {_drop(part)}"}
    if evidence.same_model and found.plain.num_images:
        same = f"the candidate is the champion, bit for bit; {_drop(part)}"
        update = {"outcome": "pass", "labels_needed": None, "detail": same}
    return check.model_copy(update=update)


def _shown(part: Corrupted, evidence: Evidence, policy: GateConfig) -> Check:
    why = "no champion to compare with" if part.champion_M is None else "no margin is set"
    check = Check(name=part.name, kind="robustness", required=False, outcome="info", detail=f"shown only, {why}; {_drop(part)}")
    alpha = evidence.alpha or policy.alpha
    if part.champion_M is None:
        return check.model_copy(update={**share_numbers(part.candidate_M, alpha), "test": "Clopper-Pearson interval"})
    found = effective(part.champion_M, part.candidate_M, part.clusters_M)
    return check.model_copy(update={**pair_numbers(found, alpha), "test": "Tango score interval"})


def _drop(part: Corrupted) -> str:
    if not len(part.candidate_M):
        return "no image was corrupted"
    clean, corrupted = (float(mask.mean()) if len(mask) else nan for mask in (part.clean_M, part.candidate_M))
    return f"candidate {clean:.1%} on the clean images → {corrupted:.1%}"


def _missing(name: str) -> Check:
    detail = "the policy asks for it, but no corrupted image was scored"
    return Check(name=name, kind="robustness", required=True, outcome="inconclusive", detail=detail)
