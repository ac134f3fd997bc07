"""What a model must show before it may ship."""

from typing import Literal

from pydantic import Field

from sightline.config.base import Section

MetricName = Literal["auto", "accuracy", "macro-f1", "ap", "ap50", "miou", "dice"]
Corruption = Literal["blur", "noise", "dark", "bright", "jpeg", "crop", "occlusion"]
ImageProperty = Literal["brightness", "sharpness", "size"]


class GateConfig(Section):
    """The promotion policy. Margins are differences of the metric, in [0, 1]."""

    metric: MetricName = "auto"
    """What is compared: auto takes accuracy for classification, ap for detection, miou for segmentation."""
    margin: float = Field(0.03, gt=0, lt=1)
    """The candidate may not be lower than the champion by this much or more (non-inferiority, overall)."""
    critical_slices: tuple[str, ...] = ()
    """Slices, as `attribute=value`, that need non-inferiority of their own."""
    critical_margin: float = Field(0.05, gt=0, lt=1)
    """Margin for critical slices."""
    anchor_margin: float | None = Field(None, gt=0, lt=1)
    """Margin against the last audited champion, so that small losses cannot add up; null: twice `margin`."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Probability of promoting a model that is worse by the margin."""
    alpha_spending: Literal["ledger", "fixed"] = "ledger"
    """ledger: the j-th look at a golden set may spend 6 alpha / (pi j)^2, so that alpha holds over all looks; fixed: alpha each time."""
    slice_alpha: float = Field(0.05, gt=0, lt=0.5)
    """Probability of blocking an equal model because of any of its other slices (family-wise)."""
    slice_margin: float = Field(0.0, ge=0, lt=1)
    """A shown loss on any other slice blocks from this size on; smaller ones warn. With very many images every loss can be shown."""
    warn_fdr: float = Field(0.1, gt=0, lt=1)
    """False discovery rate of the slice warnings."""
    min_slice_images: int = Field(20, ge=1)
    """Smaller slices are shown, never judged."""
    slice_crosses: bool = True
    """Also judge the crosses of two declared attributes."""
    property_slices: tuple[ImageProperty, ...] = ("brightness", "sharpness", "size")
    """Image properties whose lowest and highest thirds are slices too."""
    discover_slices: bool = True
    """Look for weak slices that nobody declared: found on one half of the golden images, reported on the other, never blocking."""
    cluster: Literal["group", "image"] = "group"
    """What counts as one observation: a group of related images (clip, part, patient) or each image by itself."""
    score_threshold: float = Field(0.5, ge=0, le=1)
    """Detection: the score from which a box is shown to users; slices, kinds of errors and pictures are judged at it. AP needs none."""
    min_clusters: int = Field(200, ge=2)
    """ap, ap50, miou, dice and macro-f1 are inconclusive below this many clusters."""
    num_resamples: int = Field(2000, ge=200, le=100_000)
    """Bootstrap and sign-flip resamples."""
    min_accuracy: float = Field(0.6, ge=0, le=1)
    """A first model, without a champion to compare with, must be shown to reach this (exact one-sided bound for accuracy)."""
    min_slice_accuracy: float = Field(0.3, ge=0, le=1)
    """... and must not be shown to be below this on any slice."""
    sentinels: tuple[str, ...] = ()
    """Must-pass cases: files (relative to the source) that must never be wrong."""
    calibration_margin: float | None = Field(None, gt=0, lt=1)
    """Largest rise of the expected calibration error; null: shown, not required."""
    robustness: tuple[Corruption, ...] = ("blur", "noise", "dark", "bright", "jpeg", "crop", "occlusion")
    """Corruptions of the golden images under which both models are compared."""
    robustness_severity: int = Field(2, ge=1, le=3)
    """How strong the corruptions are: 1 mild, 2 clear, 3 strong."""
    robustness_margin: float | None = Field(None, gt=0, lt=1)
    """Margin under each corruption; null: shown, not required."""
    robustness_images: int = Field(400, ge=0)
    """Golden images that are corrupted (chosen by their digest); 0 turns the check off."""
    slice_parity: float | None = Field(None, gt=0, lt=1)
    """Largest gap between the best and the worst value of a declared attribute; null: shown, not required."""
    max_size_mb: float = Field(200.0, gt=0)
    """Largest model that may ship, in megabytes (10^6 bytes)."""
    max_p95_ms: float = Field(100.0, gt=0)
    """Largest p95 latency at batch 1 of a compiled model, in milliseconds."""
    max_memory_mb: float | None = Field(None, gt=0)
    """Largest resident memory that a compiled model adds to a process, in megabytes; null: shown, not required."""
    usd_per_hour: float | None = Field(None, gt=0)
    """Price of the machine that serves; with it the cost per 1 000 inferences is stated."""
    max_usd_per_1k: float | None = Field(None, gt=0)
    """Largest cost per 1 000 inferences at batch 1, in USD; null: shown, not required."""
    parity_margin: float = Field(0.02, gt=0, lt=1)
    """The compiled model may not be lower than the trained one by this much or more."""
