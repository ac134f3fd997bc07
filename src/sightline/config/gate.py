"""What a model must show before it may ship."""

from pydantic import Field

from sightline.config.base import Section


class GateConfig(Section):
    """The promotion policy. Margins are differences of accuracy, in [0, 1]."""

    margin: float = Field(0.03, gt=0, lt=1)
    """The candidate's accuracy may not be lower than the champion's by this much or more (non-inferiority, overall)."""
    critical_slices: tuple[str, ...] = ()
    """Slices, as `attribute=value`, that need non-inferiority of their own."""
    critical_margin: float = Field(0.05, gt=0, lt=1)
    """Margin for critical slices."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Probability of promoting a model that is worse by the margin."""
    slice_alpha: float = Field(0.05, gt=0, lt=0.5)
    """Probability of blocking an equal model because of any of its other slices (family-wise)."""
    warn_fdr: float = Field(0.1, gt=0, lt=1)
    """False discovery rate of the slice warnings."""
    min_slice_images: int = Field(20, ge=1)
    """Smaller slices are shown, never judged."""
    min_accuracy: float = Field(0.6, ge=0, le=1)
    """A first model, without a champion to compare with, must be shown to reach this accuracy (exact one-sided bound)."""
    min_slice_accuracy: float = Field(0.3, ge=0, le=1)
    """... and must not be shown to be below this on any slice."""
    sentinels: tuple[str, ...] = ()
    """Files (relative to the source) that must never be wrong."""
    max_size_mb: float = Field(200.0, gt=0)
    """Largest model that may ship, in megabytes (10^6 bytes)."""
    max_p95_ms: float = Field(100.0, gt=0)
    """Largest p95 latency at batch 1 of a compiled model, in milliseconds."""
    parity_margin: float = Field(0.02, gt=0, lt=1)
    """The compiled model's accuracy may not be lower than the trained one's by this much or more."""
