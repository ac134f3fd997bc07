"""Whether one slice explains the others: what is still shown to be worse on the images outside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sightline.config.gate import GateConfig
from sightline.evaluate.paired import Ints, PairedMetric
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import Check, overall_outcome
from sightline.gate.blocking import deciding_check
from sightline.gate.evidence import BoolArray, Evidence
from sightline.gate.metric import score_regressions, tolerated
from sightline.gate.paired import champion_checks


def failing_outside(evidence: Evidence, checks: Sequence[Check], policy: GateConfig) -> tuple[str, ...] | None:
    """Names of slices that are shown to be worse on the images outside the slice that decides; None where no slice decides.

    A material that broke makes every lamp, camera and class fail that it was photographed with. Only what fails without it is a second
    cause. For people: the outcome rests on the checks of all images. None also where too few images are left to say anything.
    """
    deciding = _deciding_slice(checks)
    if evidence.champion is None or deciding not in evidence.masks:
        return None
    outside = _part(evidence, ~evidence.masks[deciding])
    if outside.champion is None or len(outside.labels_N) < policy.min_slice_images:
        return None
    found = champion_checks(outside, outside.champion, policy.model_copy(update={"critical_slices": ()}))
    return tuple(check.name for check in found if check.kind == "slice" and check.outcome == "fail")


def failing_scores_outside(
    metric: PairedMetric, masks: Mapping[str, BoolArray], clusters_N: Ints | None, checks: Sequence[Check], policy: GateConfig
) -> tuple[str, ...] | None:
    """The same for a metric that is no share of right images, by the images' own scores."""
    deciding = _deciding_slice(checks)
    if deciding not in masks:
        return None
    rows = np.flatnonzero(~masks[deciding])
    if len(rows) < policy.min_slice_images:
        return None
    clusters_M = None if clusters_N is None else clusters_N[rows]
    found = score_regressions(metric.subset(rows), {name: mask[rows] for name, mask in masks.items()}, clusters_M, policy)
    return tuple(check.name for check in found if tolerated(check, policy).outcome == "fail")


def _deciding_slice(checks: Sequence[Check]) -> str:
    """The slice that makes the verdict fail; empty where none does."""
    deciding = deciding_check(checks, overall_outcome(checks))
    return deciding.slice if deciding is not None and deciding.outcome == "fail" else ""


def _part(evidence: Evidence, kept: BoolArray) -> Evidence:
    rows = np.flatnonzero(kept)

    def some(answers: Answers | None) -> Answers | None:
        if answers is None:
            return None
        ids = tuple(answers.sample_ids[row] for row in rows)
        return replace(answers, sample_ids=ids, predicted_N=answers.predicted_N[rows], confidence_N=answers.confidence_N[rows])

    return replace(
        evidence,
        labels_N=evidence.labels_N[rows],
        masks={name: mask[rows] for name, mask in evidence.masks.items()},
        candidate=some(evidence.candidate) or evidence.candidate,
        champion=some(evidence.champion),
        clusters_N=None if evidence.clusters_N is None else evidence.clusters_N[rows],
    )
