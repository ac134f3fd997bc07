"""The check against the last audited model: each promotion may lose a little, all of them together only so much."""

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import Check
from sightline.gate.evidence import Evidence
from sightline.gate.paired import Question, counts, non_inferiority

NAME = "against the last audited model"

# A margin is below 1; twice a margin of a half or more would exclude nothing.
_LARGEST_MARGIN = 0.999


def anchor_checks(evidence: Evidence, policy: GateConfig) -> list[Check]:
    """The required non-inferiority check against the anchor, on all golden images; none without an anchor.

    The margin is ``policy.anchor_margin``, or twice ``policy.margin``; the level is that of this look. The comparison with the champion
    alone does not bound what several promotions lose together: each may lose less than the margin.
    """
    if evidence.anchor is None:
        return []
    margin = min(2 * policy.margin, _LARGEST_MARGIN) if policy.anchor_margin is None else policy.anchor_margin
    question = Question(NAME, "anchor", "", margin, evidence.alpha or policy.alpha)
    check = non_inferiority(question, counts(evidence, evidence.anchor))
    return [check.model_copy(update={"detail": f"generation {evidence.anchor_generation}: {check.detail}"})]
