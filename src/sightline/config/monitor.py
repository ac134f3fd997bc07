"""Drift and what is done about it."""

from pydantic import Field

from sightline.config.base import Section


class MonitorConfig(Section):
    """Served images against the reference of the model that served them."""

    min_images: int = Field(200, ge=20)
    """Fewer served images than this is no evidence: the decision is `wait`, never `ignore`."""
    max_images: int = Field(2000, ge=100)
    """Newest served images that are looked at; the embedding test's cost grows with its square."""
    alpha: float = Field(0.01, gt=0, lt=0.5)
    """Probability of a false alarm per look, over all tests (Holm)."""
    min_effect: float = Field(0.1, ge=0, le=1)
    """Smallest Kolmogorov-Smirnov distance that matters, in [0, 1]."""
    num_permutations: int = Field(2000, ge=100)
    """Permutations of the embedding test."""
    retrain_drifted: int = Field(2, ge=1)
    """Number of drifted signals from which the decision is `retrain`; fewer: `label`."""
    cool_down_s: float = Field(0.0, ge=0)
    """Seconds after a retraining during which the decision cannot be `retrain` again."""
    max_retrains: int = Field(4, ge=0)
    """Retrainings that drift may start in `budget_window_s`; 0 is the kill switch."""
    budget_window_s: float = Field(7 * 24 * 3600.0, gt=0)
    """Window of that budget, in seconds."""
    seed: int = 7
    """Seed of subsamples and permutations."""
    webhook: str = ""
    """http(s) address that is told of each decision to label or retrain, as JSON with an idempotency key; empty: nobody is told."""
