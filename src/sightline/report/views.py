"""What the page reads from the steps' files: every field may be absent, an unknown one is ignored, a wrong one counts as absent."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, ValidatorFunctionWrapHandler, field_validator

Interval = tuple[float | None, float | None]


class View(BaseModel):
    """A frozen record that is never in the way of a report: what cannot be read is None or empty, and is shown as not recorded."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_default(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValidationError:
            return cls.model_fields[info.field_name or ""].get_default(call_default_factory=True)


class CheckView(View):
    """One question of the gate and its answer; an empty ``unit`` was not recorded, which never turns a number into a percentage."""

    name: str = ""
    kind: str = ""
    slice: str = ""
    required: bool = False
    outcome: str = ""
    metric: str = ""
    unit: str = ""
    lower_is_better: bool = False
    num_images: int | None = None
    num_clusters: int | None = None
    reference: float | None = None
    value: float | None = None
    estimate: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    margin: float | None = None
    test: str = ""
    num_broken: int | None = None
    num_fixed: int | None = None
    labels_needed: int | None = None
    detail: str = ""

    @property
    def is_paired(self) -> bool:
        """Whether the estimate is value minus reference, in whatever unit."""
        return self.reference is not None and self.estimate is not None

    @property
    def is_difference(self) -> bool:
        """Whether the estimate is a difference of shares, which can be drawn around zero."""
        return self.is_paired and self.unit == "share"

    @property
    def loss(self) -> float:
        """How much worse, as far as is known: the larger, the worse; without a reference a low value is a large loss."""
        known = self.estimate if self.estimate is not None else self.value
        if known is None:
            return -math.inf
        return known if self.lower_is_better else -known

    @property
    def certain_loss(self) -> float:
        """The loss that the interval leaves no doubt about, which ranks slices of any size; ``loss`` without an interval."""
        end = self.low if self.lower_is_better else self.high
        if end is None:
            return self.loss
        return end if self.lower_is_better else -end

    @property
    def low(self) -> float | None:
        """Lower bound of the estimate."""
        return self.interval[0] if self.interval else None

    @property
    def high(self) -> float | None:
        """Upper bound of the estimate."""
        return self.interval[1] if self.interval else None


class FlipsView(View):
    """How many golden images changed sides."""

    num_broken: int | None = None
    num_fixed: int | None = None


class OverrideView(View):
    """A person's decision to ship in spite of the named checks; ``until`` in Unix seconds."""

    checks: tuple[str, ...] = ()
    who: str = ""
    why: str = ""
    until: float | None = None


class CaseView(View):
    """A must-pass case; ``given`` is empty for an invalid answer."""

    location: str = ""
    wanted: str = ""
    given: str = ""


class ConfusionView(View):
    """One kind of error, and how often both models make it."""

    name: str = ""
    reference: int | None = None
    candidate: int | None = None

    @property
    def rise(self) -> int:
        """How much more often the candidate makes it; 0 where that is not known."""
        return 0 if self.reference is None or self.candidate is None else self.candidate - self.reference


class VerdictView(View):
    """``verdict.json``."""

    task: str = ""
    metric: str = ""
    stage: str = ""
    outcome: str = ""
    candidate: str = ""
    variant: str = ""
    champion: str = ""
    champion_generation: int = 0
    golden_digest: str = ""
    num_images: int | None = None
    looks: int | None = None
    attempt: int | None = None
    alpha: float | None = None
    checks: tuple[CheckView, ...] = ()
    flips: FlipsView = FlipsView()
    cases: tuple[CaseView, ...] = ()
    errors: tuple[ConfusionView, ...] = ()
    overrides: tuple[OverrideView, ...] = ()
    reason: str = ""

    @property
    def overall(self) -> CheckView | None:
        """The check over all golden images."""
        return next((check for check in self.checks if check.kind == "overall"), None)

    @property
    def slices(self) -> tuple[CheckView, ...]:
        """Checks of declared slices, the worst first: by what came of them, then by certain loss; unknown ones last."""
        found = [check for check in self.checks if check.kind in {"slice", "critical-slice"}]
        return tuple(sorted(found, key=_badness))

    @property
    def discovered(self) -> tuple[CheckView, ...]:
        """Slices that were found by looking at the errors: hints that no test backs, so they stand among no results."""
        return tuple(check for check in self.checks if check.kind == "discovered-slice")

    @property
    def others(self) -> tuple[CheckView, ...]:
        """Checks that are no slices: failures, then open and waived ones, then the other required ones, then those for information."""
        found = [check for check in self.checks if check.kind not in {"slice", "critical-slice", "discovered-slice"}]
        return tuple(sorted(found, key=lambda check: min(_rank(check), 2 if check.required else 3)))

    @property
    def waived(self) -> tuple[CheckView, ...]:
        """Checks that do not pass, and do not block because a person answers for it."""
        return tuple(check for check in self.checks if check.outcome == "waived")

    @property
    def wrong_cases(self) -> tuple[CaseView, ...]:
        """Must-pass cases without the wanted answer."""
        return tuple(case for case in self.cases if case.given != case.wanted)

    @property
    def grown_errors(self) -> tuple[ConfusionView, ...]:
        """Errors that the candidate makes more often than the champion, the largest rise first."""
        return tuple(sorted((error for error in self.errors if error.rise > 0), key=lambda error: -error.rise))


def _rank(check: CheckView) -> int:
    found = {"fail": 0, "inconclusive": 1, "waived": 1, "warn": 2}.get(check.outcome, 3)
    return 3 if check.outcome == "inconclusive" and not check.required else found


def _badness(check: CheckView) -> tuple[int, float, float]:
    return (_rank(check), -check.certain_loss, -check.loss)


class ColumnView(View):
    """One variant in ``variants.json``: accuracy per row, and its difference to the first column."""

    name: str = ""
    status: str = ""
    values: tuple[float | None, ...] = ()
    estimates: tuple[float | None, ...] = ()
    outcome: str = ""
    p95_ms: float | None = None
    size_mb: float | None = None


class VariantsView(View):
    """``variants.json``: rows are slices, the first all golden images; columns are variants, the first is the reference."""

    reference: str = ""
    slices: tuple[str, ...] = ()
    num_images: tuple[int, ...] = ()
    columns: tuple[ColumnView, ...] = ()


class VariantView(View):
    """One compiled variant in ``benchmark.json``."""

    name: str = ""
    status: str = ""
    reason: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None
    throughput_ips: float | None = None
    size_bytes: float | None = None
    accuracy: float | None = None
    agreement: float | None = None
    max_abs_diff: float | None = None


class BenchmarkView(View):
    """``benchmark.json``; ``machine`` is text or a mapping, as compile wrote it."""

    variants: tuple[VariantView, ...] = ()
    chosen: str = ""
    machine: dict[str, Any] | str = ""

    def variant(self, name: str) -> VariantView | None:
        """The variant of that name."""
        return next((variant for variant in self.variants if variant.name == name), None)


class ArmView(View):
    """What one arm of the canary did: counts, and latencies where there were requests."""

    requests: int | None = None
    errors: int | None = None
    slow: int | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None


class MomentView(View):
    """One point of the canary's timeline."""

    t: float | None = None
    state: str = ""
    requests: float | None = None
    canary_requests: float | None = None
    canary_share: float | None = None
    errors: float | None = None
    e_values: dict[str, float] = {}


class DeploymentView(View):
    """``deployment.json``."""

    outcome: str = ""
    reason: str = ""
    timeline: tuple[MomentView, ...] = ()
    arms: dict[str, ArmView] = {}
    fallbacks: int | None = None
    client_errors: int | None = None
    e_values: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    fault: str = ""
    registered: str = ""
    decided_after_s: float | None = None
    sentinels: int | None = None
    wrong_sentinels: tuple[str, ...] = ()

    @property
    def requests(self) -> int | None:
        """Requests that any arm answered."""
        known = [arm.requests for arm in self.arms.values() if arm.requests is not None]
        return sum(known) if known else None


class HistogramView(View):
    """Counts of reference and served images per bin, or per category where there are no edges."""

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    reference: tuple[float, ...] = ()
    served: tuple[float, ...] = ()


class SignalView(View):
    """One drift test."""

    name: str = ""
    test: str = ""
    statistic: float | None = None
    effect: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    drifted: bool | None = None
    reference_mean: float | None = None
    served_mean: float | None = None
    detail: str = ""
    histogram: HistogramView | None = None


class DriftView(View):
    """``drift.json``."""

    decision: str = ""
    reason: str = ""
    signals: tuple[SignalView, ...] = ()
    num_reference: int | None = None
    num_served: int | None = None
    model: str = ""

    @property
    def num_drifted(self) -> int:
        """Signals that drifted."""
        return sum(signal.drifted is True for signal in self.signals)


class DatasetView(View):
    """``dataset.json``."""

    classes: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    class_counts: dict[str, dict[str, int]] = {}
    digests: dict[str, str] = {}
    quarantined: dict[str, int] = {}
    num_groups: int | None = None
    image_size_px: int | None = None


class EpochView(View):
    """One epoch of ``history.json``."""

    epoch: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None


class HistoryView(View):
    """``history.json`` when it is an object."""

    epochs: tuple[EpochView, ...] = ()


class TrialView(View):
    """One trial of the search."""

    trial: int | str | None = None
    lr: float | None = None
    weight_decay: float | None = None
    augment: float | None = None
    epochs: int | None = None
    val_accuracy: float | None = None
    stopped_early: bool | None = None
    failed: str = ""


class ModelView(View):
    """``model.json``, as far as the page shows it."""

    backbone: str = ""
    width: int | None = None
    parent: str = ""
    chosen: str = ""
    dataset_digests: dict[str, str] = {}


Status = Literal["promoted", "rejected", "rolled-back", "monitored", "failed"]
