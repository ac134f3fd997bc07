"""The verdict: what was compared on which golden images, each check with its numbers, and whether the candidate may ship."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from sightline.errors import DataError
from sightline.store.artifact import open_artifact, write_file
from sightline.store.digest import sha256_value

KIND = "verdict"
FILE = "verdict.json"

Task = Literal["classification", "detection", "segmentation"]
Stage = Literal["trained", "compiled", "predictions"]
CheckKind = Literal[
    "answers",
    "sentinel",
    "overall",
    "critical-slice",
    "slice",
    "discovered-slice",
    "anchor",
    "parity",
    "agreement",
    "calibration",
    "robustness",
    "slice-parity",
    "size",
    "latency",
    "memory",
    "cost",
]
CheckOutcome = Literal["pass", "fail", "inconclusive", "warn", "info", "waived"]
Unit = Literal["share", "MB", "ms", "USD"]

# Metrics that the field quotes as decimals; every other share is a percentage.
SCORES = frozenset({"AP", "AP50", "AR", "mIoU", "IoU", "Dice", "macro F1"})
VerdictOutcome = Literal["pass", "fail", "inconclusive"]


class Frozen(BaseModel):
    """A frozen record without unknown keys, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Check(Frozen):
    """One question to the candidate and its answer.

    Attributes:
        name: for people, e.g. "material=brass" or "model size".
        kind: the family that the check belongs to.
        slice: the slice it looks at; empty for all golden images.
        required: a required check that fails or stays inconclusive blocks promotion.
        outcome: pass, fail, inconclusive (neither is shown), warn (never blocks), info (not judged), waived (blocked, but overridden by
            a person; see the verdict's overrides).
        metric: what ``reference`` and ``value`` are, e.g. "accuracy", "AP", "mIoU", "ECE".
        unit: share: values in [0, 1], shown as percentages and points.
        lower_is_better: for errors, costs and times; a positive estimate is then a loss.
        num_images: images behind the numbers.
        num_clusters: independent groups of images behind the numbers; 0 where each image counts by itself.
        reference: the reference's value (champion, anchor, eager model), None without one.
        value: the candidate's value, in ``unit``.
        estimate: value minus reference for paired checks, else the value.
        interval: confidence interval of the estimate.
        p_value: of the test named in ``test``; one-sided.
        margin: the tolerated loss of accuracy, or the limit of an absolute check.
        num_broken: images that the reference answers correctly and the candidate does not.
        num_fixed: the other way round.
        labels_needed: for inconclusive checks, further labelled images for 80 % power; None when labels would not help.
    """

    name: str
    kind: CheckKind
    slice: str = ""
    required: bool
    outcome: CheckOutcome
    metric: str = "accuracy"
    unit: Unit = "share"
    lower_is_better: bool = False
    num_images: int = 0
    num_clusters: int = 0
    reference: float | None = None
    value: float | None = None
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    margin: float | None = None
    test: str = ""
    num_broken: int = 0
    num_fixed: int = 0
    labels_needed: int | None = None
    detail: str = ""


class Flips(Frozen):
    """How many golden images changed sides between champion and candidate."""

    num_broken: int = 0
    num_fixed: int = 0


class Case(Frozen):
    """A must-pass case and the answer to it; ``given`` is empty for an invalid answer."""

    location: str
    wanted: str
    given: str

    @property
    def passes(self) -> bool:
        """Whether the answer is the wanted one."""
        return self.given == self.wanted


class Override(Frozen):
    """A person's decision to ship in spite of checks that block; kept in the registry and listed in the model card.

    Attributes:
        candidate: digest of the model it is for; it is valid for no other.
        champion: digest of the model that the candidate was compared with, or "none"; against another one the loss is another.
        golden_digest: the golden images of the verdict that it overrides.
        checks: names of the checks it covers.
        who: the person who answers for it.
        why: the reason, in a sentence.
        made_at: Unix seconds.
        until: Unix seconds after which it is void.
        verdict: signature of the verdict that it overrides.
    """

    candidate: str
    champion: str = "none"
    golden_digest: str
    checks: tuple[str, ...]
    who: str
    why: str
    made_at: float
    until: float
    verdict: str


class Confusion(Frozen):
    """One kind of error, e.g. "Crack taken for Free" or "missed"; counts over the golden images of reference and candidate."""

    name: str
    reference: int | None = None
    candidate: int


class Verdict(Frozen):
    """``verdict.json``.

    Attributes:
        task: what the models do.
        metric: the metric that decides, e.g. "accuracy" or "AP".
        candidate: digest of the model bundle that was judged; ``variant`` is what answered.
        champion: digest of the bundle it was compared with, or "none"; ``champion_generation`` is 0 then.
        golden_digest: digest of the golden split.
        looks: how many candidates this golden set has judged, this one included.
        attempt: the number of this look in the alpha ledger (image-weighted over earlier golden sets); ``alpha`` is what it may spend.
        policy: the resolved gate section.
        cases: the must-pass cases.
        errors: what kinds of errors both make, most frequent first.
        overrides: those that turned a blocking check into "waived".
        outside: slices that fail also on the images outside the slice that decides, so that one cause is told from several; null where that
            was not looked at.
        reason: one sentence for a product owner.
        signature: SHA-256 of everything else, so that an edit shows.
    """

    schema_version: Literal[2] = 2
    task: Task = "classification"
    metric: str = "accuracy"
    stage: Stage
    outcome: VerdictOutcome
    candidate: str
    variant: str
    champion: str = "none"
    champion_generation: int = 0
    golden_digest: str
    num_images: int
    looks: int
    attempt: int = 1
    alpha: float = 0.05
    policy: dict[str, JsonValue] = {}
    checks: tuple[Check, ...]
    flips: Flips = Flips()
    cases: tuple[Case, ...] = ()
    errors: tuple[Confusion, ...] = ()
    overrides: tuple[Override, ...] = ()
    outside: tuple[str, ...] | None = None
    reason: str
    signature: str = ""


def overall_outcome(checks: Sequence[Check]) -> VerdictOutcome:
    """Pass when there are required checks and all passed (warned and waived do not block); fail when one failed; else inconclusive."""
    required = [check.outcome for check in checks if check.required]
    if "fail" in required:
        return "fail"
    return "pass" if required and all(outcome in {"pass", "warn", "waived"} for outcome in required) else "inconclusive"


def waivable(check: Check) -> bool:
    """Whether a person may override this check.

    Never: answers that are no numbers, a must-pass case, and a parity check without a value, since nothing is known about what ships.
    """
    return check.kind not in {"answers", "sentinel"} and not (check.kind == "parity" and check.value is None)


def _unfounded_waivers(verdict: Verdict) -> list[str]:
    """Checks that are waived although no override of this verdict says so, or although nobody may waive them."""
    subject = verdict.candidate, verdict.champion, verdict.golden_digest
    matching = [override for override in verdict.overrides if (override.candidate, override.champion, override.golden_digest) == subject]
    covered = {name for override in matching for name in override.checks}
    waived = [check for check in verdict.checks if check.outcome == "waived"]
    problems = [f"'{check.name}' is waived, and no override names it" for check in waived if check.name not in covered]
    return problems + [f"'{check.name}' is waived, and nobody may do that" for check in waived if not waivable(check)]


def signature_of(verdict: Verdict) -> str:
    """The SHA-256 of the verdict's canonical content, without the signature itself."""
    return sha256_value(verdict.model_dump(mode="json", exclude={"signature"}))


def write_verdict(folder: Path, verdict: Verdict) -> Verdict:
    """Writes the signed verdict into ``folder`` and returns it."""
    signed = verdict.model_copy(update={"signature": signature_of(verdict)})
    write_file(folder / FILE, signed.model_dump_json(indent=1).encode())
    return signed


def read_verified(folder: Path) -> Verdict:
    """The verdict in a committed verdict folder, after every file, the signature and the outcome were checked.

    The signature shows damage and edits. It is a digest, not a secret: a person who may write to the store can still forge a whole folder.

    Raises:
        DataError: anything is missing, altered or contradicts itself. Never returns a verdict that is in doubt.
    """
    remedy = "run the gate again; a verdict is never edited"
    path = open_artifact(folder, KIND).file(FILE)
    try:
        verdict = Verdict.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path} is damaged: {error.error_count()} invalid fields", remedy=remedy) from None
    if signature_of(verdict) != verdict.signature:
        raise DataError(f"{path} was altered: its signature does not match its content", remedy=remedy)
    if overall_outcome(verdict.checks) != verdict.outcome:
        raise DataError(f"{path} contradicts itself: outcome '{verdict.outcome}' does not follow from its checks", remedy=remedy)
    unfounded = _unfounded_waivers(verdict)
    if unfounded:
        raise DataError(f"{path} contradicts itself", problems=unfounded, remedy=remedy)
    return verdict
