"""The verdict: what was compared on which golden images, each check with its numbers, and whether the candidate may ship."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import DataError
from sightline.store.artifact import open_artifact, write_file
from sightline.store.digest import sha256_value

KIND = "verdict"
FILE = "verdict.json"

Stage = Literal["trained", "compiled"]
CheckKind = Literal["answers", "sentinel", "overall", "critical-slice", "slice", "parity", "agreement", "size", "latency"]
CheckOutcome = Literal["pass", "fail", "inconclusive", "warn", "info"]
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
        outcome: pass, fail, inconclusive (neither is shown), warn (never blocks), info (not judged).
        num_images: images behind the numbers.
        reference: the reference's value (champion, eager model), None without one.
        value: the candidate's value: an accuracy in [0, 1], or the measured size in MB or latency in ms.
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
    num_images: int = 0
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


class Verdict(Frozen):
    """``verdict.json``.

    Attributes:
        candidate: digest of the model bundle that was judged; ``variant`` is what answered.
        champion: digest of the bundle it was compared with, or "none"; ``champion_generation`` is 0 then.
        golden_digest: digest of the golden split.
        looks: how many candidates this golden set has judged, this one included.
        reason: one sentence for a product owner.
        signature: SHA-256 of everything else, so that an edit shows.
    """

    schema_version: Literal[1] = 1
    stage: Stage
    outcome: VerdictOutcome
    candidate: str
    variant: str
    champion: str = "none"
    champion_generation: int = 0
    golden_digest: str
    num_images: int
    looks: int
    checks: tuple[Check, ...]
    flips: Flips = Flips()
    reason: str
    signature: str = ""


def overall_outcome(checks: Sequence[Check]) -> VerdictOutcome:
    """Pass when there are required checks and all passed (a warning does not block); fail when one failed; else inconclusive."""
    required = [check.outcome for check in checks if check.required]
    if "fail" in required:
        return "fail"
    return "pass" if required and all(outcome in {"pass", "warn"} for outcome in required) else "inconclusive"


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
    return verdict
