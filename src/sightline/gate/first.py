"""Checks of a first model, which has no champion to be compared with: exact bounds on its accuracy."""

from collections.abc import Mapping
from math import ceil

import numpy as np

from sightline.config.gate import GateConfig
from sightline.evaluate.paired import Ints
from sightline.evaluate.verdict import Check, CheckOutcome
from sightline.gate import bounds
from sightline.gate.clusters import independent_share
from sightline.gate.evidence import BoolArray, Evidence
from sightline.gate.multiplicity import holm


def first_model_checks(evidence: Evidence, policy: GateConfig) -> list[Check]:
    """Overall accuracy must be shown to reach ``min_accuracy``; no slice may be shown to be below ``min_slice_accuracy``."""
    correct = evidence.correct(evidence.candidate)
    return [
        _overall(correct, evidence.clusters_N, policy),
        *_slices({name: correct[mask] for name, mask in evidence.masks.items()}, policy),
    ]


def _overall(correct: BoolArray, clusters_N: Ints | None, policy: GateConfig) -> Check:
    hits, images = independent_share(correct, clusters_N)
    low, high = bounds.lower_bound(hits, images, policy.alpha), bounds.upper_bound(hits, images, policy.alpha)
    outcome: CheckOutcome = "pass" if low >= policy.min_accuracy else "fail" if high < policy.min_accuracy else "inconclusive"
    needed = None
    if outcome == "inconclusive":
        total = bounds.images_for_share(hits / max(images, 1), policy.min_accuracy, policy.alpha)
        # In images of such groups: as many times more as there are images to an independent one.
        needed = max(ceil((total - images) * len(correct) / max(images, 1)), 1) if total is not None else None
    detail = {
        "pass": "shown to reach the smallest accuracy",
        "fail": "shown to be below the smallest accuracy",
        "inconclusive": f"not enough images to decide; label about {needed} more" if needed else "not shown to reach the smallest accuracy",
    }[outcome]
    return Check(
        name="overall",
        kind="overall",
        required=True,
        outcome=outcome,
        p_value=bounds.above_p(hits, images, policy.min_accuracy),
        margin=policy.min_accuracy,
        test="Clopper-Pearson, smallest accuracy",
        labels_needed=needed,
        detail=detail,
        **share_numbers(correct, policy.alpha) | {"interval": (low, high)},
    )


def _slices(slices: Mapping[str, BoolArray], policy: GateConfig) -> list[Check]:
    critical = set(policy.critical_slices)
    tested = {name: part for name, part in slices.items() if len(part) and (len(part) >= policy.min_slice_images or name in critical)}
    p_values = [bounds.below_p(int(part.sum()), len(part), policy.min_slice_accuracy) for part in tested.values()]
    below = holm(p_values, policy.slice_alpha).rejected
    checks = []
    for name, part, p_value, failed in zip(tested, tested.values(), p_values, below, strict=True):
        checks.append(
            Check(
                name=name,
                kind="critical-slice" if name in critical else "slice",
                slice=name,
                required=True,
                outcome="fail" if failed else "pass",
                p_value=p_value,
                margin=policy.min_slice_accuracy,
                test="exact binomial, smallest slice accuracy",
                detail="shown to be below the smallest slice accuracy" if failed else "not shown to be below the smallest slice accuracy",
                **share_numbers(part, policy.slice_alpha),
            )
        )
    return checks + [_unjudged(name, part, policy) for name, part in slices.items() if name not in tested]


def _unjudged(name: str, part: BoolArray, policy: GateConfig) -> Check:
    if name in policy.critical_slices:
        needed = policy.min_slice_images
        detail = f"no golden image; label about {needed}"
        return Check(
            name=name, kind="critical-slice", slice=name, required=True, outcome="inconclusive", labels_needed=needed, detail=detail
        )
    small = f"fewer than {policy.min_slice_images} images, shown only"
    return Check(
        name=name, kind="slice", slice=name, required=False, outcome="info", detail=small, **share_numbers(part, policy.slice_alpha)
    )


def share_numbers(correct: BoolArray, alpha: float) -> dict[str, object]:
    """Images, share of right answers and its exact interval at ``alpha`` each side, as fields of a check."""
    hits, images = int(np.count_nonzero(correct)), len(correct)
    if not images:
        return {"num_images": 0}
    interval = (bounds.lower_bound(hits, images, alpha), bounds.upper_bound(hits, images, alpha))
    return {"num_images": images, "value": hits / images, "estimate": hits / images, "interval": interval}
