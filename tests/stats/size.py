"""How long the statistical tests run, and when an observed error rate refutes a claim."""

import os

from sightline.gate import bounds

FULL = os.environ.get("SIGHTLINE_STATS") == "full"
"""The full form takes minutes and runs at night; the quick one runs with every change."""


class RateExceededError(Exception):
    """More events than the claimed probability can explain."""


def require_rate(events: int, worlds: int, claimed: float) -> None:
    """Refuses when even the 99.9 % lower bound (Clopper-Pearson) of the observed rate is above the claim."""
    if bounds.lower_bound(events, worlds, 0.001) > claimed:
        raise RateExceededError(f"{events} of {worlds} worlds, claimed at most {claimed:.1%}")
