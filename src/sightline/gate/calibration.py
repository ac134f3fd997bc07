"""The calibration check: does the candidate state its confidence as honestly as the champion?"""

from math import ceil
from statistics import NormalDist

import numpy as np

from sightline.config.gate import GateConfig
from sightline.evaluate.calibration import Estimate, Stated, brier, error_interval, error_rise, expected_error, shared_edges
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Check, CheckOutcome
from sightline.gate.evidence import Evidence


def calibration_checks(evidence: Evidence, policy: GateConfig) -> list[Check]:
    """One check of the expected calibration error: its paired rise over the champion's, or the value of a first model.

    With ``calibration_margin`` it is required: pass when a rise by the margin is ruled out, fail when a rise is shown, else inconclusive,
    always so below ``min_clusters`` independent groups, where the interval cannot be trusted. Without the margin, and for a first model,
    numbers and interval are shown only. The level is that of this look (``evidence.alpha``).
    """
    if evidence.champion is None:
        return [_first_model(evidence, policy)]
    champion, candidate = stated(evidence, evidence.champion), stated(evidence, evidence.candidate)
    if not len(candidate):
        return [_without_images(required=policy.calibration_margin is not None)]
    alpha = evidence.alpha or policy.alpha
    rise = error_rise(champion, candidate, evidence.clusters_N, alpha, policy.num_resamples)
    edges = shared_edges(champion, candidate)
    shown = _shown(evidence, rise).model_copy(
        update={"reference": expected_error(champion, edges), "value": expected_error(candidate, edges)}
    )
    scores = f"Brier score {brier(champion):.4f} → {brier(candidate):.4f}"
    if policy.calibration_margin is None:
        return [shown.model_copy(update={"detail": f"shown only, no margin is set; {scores}"})]
    return [_judged(shown.model_copy(update={"detail": scores}), evidence, rise, policy)]


def stated(evidence: Evidence, answers: Answers) -> Stated:
    """What was stated and whether it was right.

    An invalid answer counts as an error stated with full confidence: a model must not look better calibrated by giving no answer.
    """
    invalid = (answers.predicted_N < 0) & (answers.confidence_N == 0)
    return Stated(evidence.correct(answers), np.where(invalid, np.float32(1), answers.confidence_N))


def _first_model(evidence: Evidence, policy: GateConfig) -> Check:
    candidate = stated(evidence, evidence.candidate)
    if not len(candidate):
        return _without_images(required=False)
    found = error_interval(candidate, evidence.clusters_N, evidence.alpha or policy.alpha, policy.num_resamples)
    detail = f"shown only, no champion to compare with; Brier score {brier(candidate):.4f}"
    return _shown(evidence, found).model_copy(update={"value": found.value, "detail": detail})


def _shown(evidence: Evidence, found: Estimate) -> Check:
    return Check(
        name="calibration",
        kind="calibration",
        required=False,
        outcome="info",
        metric="ECE",
        lower_is_better=True,
        num_images=len(evidence.labels_N),
        num_clusters=_num_clusters(evidence) if evidence.clusters_N is not None else 0,
        estimate=found.value,
        interval=(found.low, found.high),
        test="inverted cluster bootstrap, 15 shared bins of equally many answers",
    )


def _without_images(*, required: bool) -> Check:
    outcome: CheckOutcome = "inconclusive" if required else "info"
    check = Check(name="calibration", kind="calibration", required=required, outcome=outcome, metric="ECE", lower_is_better=True)
    return check.model_copy(update={"detail": "no golden image"})


def _num_clusters(evidence: Evidence) -> int:
    return len(evidence.labels_N) if evidence.clusters_N is None else len(np.unique(evidence.clusters_N))


def _judged(shown: Check, evidence: Evidence, rise: Estimate, policy: GateConfig) -> Check:
    margin = policy.calibration_margin or 0.0
    missing = policy.min_clusters - _num_clusters(evidence)
    outcome: CheckOutcome = "pass" if rise.high < margin else "fail" if rise.low > 0 else "inconclusive"
    needed = None
    if evidence.same_model:
        outcome, words = "pass", "the candidate is the champion, bit for bit"
    elif missing > 0:
        outcome, needed = "inconclusive", missing
        words = f"{policy.min_clusters} independent groups of images are needed; label about {needed} more"
    elif outcome == "inconclusive":
        needed = _labels_needed(shown.num_images, rise, margin, evidence.alpha or policy.alpha)
        words = f"not enough images to decide; label about {needed} more" if needed else "not shown; the rise is near the margin"
    else:
        words = f"a rise of {margin * 100:g} points is ruled out" if outcome == "pass" else "confidence became less honest"
    update = {"required": True, "outcome": outcome, "margin": margin, "labels_needed": needed, "detail": f"{words}; {shown.detail}"}
    return shown.model_copy(update=update)


def _labels_needed(num_images: int, rise: Estimate, margin: float, alpha: float, power: float = 0.8) -> int | None:
    """Further images for an equally calibrated model to pass; None when the estimate itself is near the margin."""
    if rise.value >= margin / 2:
        return None
    # The upper end's distance shrinks with the root of the images; half a margin stays for the error of the estimate itself.
    normal = NormalDist()
    reach = max(rise.high - rise.value, normal.inv_cdf(1 - alpha) * rise.error) + normal.inv_cdf(power) * rise.error
    return max(ceil(num_images * (reach / (margin - max(rise.value, 0.0))) ** 2) - num_images, 1)
