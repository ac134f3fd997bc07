"""``drift.json``: what one look found and what was decided."""

from pydantic import BaseModel, ConfigDict

from sightline.images import PROPERTIES
from sightline.monitor.decide import Kind
from sightline.monitor.drift import NUM_SIGNALS, Signal


class Drift(BaseModel):
    """One look at the served images.

    Attributes:
        decision: wait, ignore, label or retrain.
        reason: one sentence.
        signals: every tested signal; empty when the decision is ``wait``.
        num_reference: images in the champion's reference.
        num_served: different served images that were looked at.
        num_other_model: answers of other models, left out.
        num_repeated: further answers for the same image, left out.
        model: digest of the champion.
        alpha: probability of a false alarm per look, over all signals.
        min_effect: smallest Kolmogorov-Smirnov distance that counted.
        label_first: served sample ids, farthest from the reference first; empty when nothing drifted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    decision: Kind
    reason: str
    signals: tuple[Signal, ...] = ()
    num_reference: int
    num_served: int
    num_other_model: int = 0
    num_repeated: int = 0
    model: str
    alpha: float
    min_effect: float
    label_first: tuple[str, ...] = ()

    @property
    def drifted(self) -> tuple[Signal, ...]:
        """The drifted signals, causes first: image properties, then the model's answers, then the embedding; the largest effect first."""
        order = {**dict.fromkeys(PROPERTIES, 0), "embedding": 2}
        return tuple(
            sorted((signal for signal in self.signals if signal.drifted), key=lambda signal: (order.get(signal.name, 1), -signal.effect))
        )

    @property
    def headline(self) -> str:
        """One line for the terminal: the decision, how many signals drifted, the strongest one, the number of images."""
        parts = [self.decision.upper()]
        if self.signals:
            parts.append(f"{len(self.drifted)} of {NUM_SIGNALS} signals drifted")
        if self.drifted:
            parts.append(f"{self.drifted[0].name} {self.drifted[0].detail}")
        return " · ".join([*parts, f"{self.num_served} images"])

    @property
    def metrics(self) -> dict[str, float]:
        """Scalars for the run's records, stable keys."""
        effects = {f"effect/{signal.name}": signal.effect for signal in self.signals}
        counts = {
            "served": self.num_served,
            "reference": self.num_reference,
            "drifted": len(self.drifted),
            "other_model": self.num_other_model,
        }
        return {**{f"num_{name}": float(value) for name, value in counts.items()}, **effects}
