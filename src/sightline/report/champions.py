"""Who was champion when, from the promotion ledger; a ledger that cannot be read is said so, never guessed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.config.store import StoreConfig
from sightline.errors import SightlineError
from sightline.registry.ledger import Champion, Ledger


@dataclass(frozen=True)
class Champions:
    """All generations, oldest first, and why they cannot be told."""

    history: tuple[Champion, ...] = ()
    problem: str = ""

    @property
    def current(self) -> Champion | None:
        """The champion; None before the first promotion and when the ledger cannot be read."""
        return self.history[-1] if self.history else None

    def promoted_by(self, run_ids: Sequence[str]) -> Champion | None:
        """The newest generation that one of the runs made champion."""
        return next((champion for champion in reversed(self.history) if champion.run_id in run_ids), None)


def read_champions(store: StoreConfig) -> Champions:
    """The ledger's history with its chain verified."""
    try:
        return Champions(tuple(Ledger(store.registry).history()))
    except (SightlineError, OSError) as error:
        return Champions(problem=f"the promotion ledger cannot be read: {error}")
