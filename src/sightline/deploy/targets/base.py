"""What every place offers in which a canary can run beside the incumbent."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sightline.deploy.judge import Arm, Observation
from sightline.deploy.wire import Endpoint
from sightline.errors import EnvironmentFault
from sightline.registry.ledger import Champion

Observe = Callable[[Observation], None]


class CanaryNotReadyError(EnvironmentFault):
    """The new model does not start to answer; the incumbent is not touched by that."""


@dataclass
class ArmRecord:
    """What one arm did so far; latencies in milliseconds, of requests that it was asked first."""

    requests: int = 0
    errors: int = 0
    slow: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    def add(self, latency_ms: float, *, error: bool, slo_ms: float) -> None:
        """Counts one request; one slower than ``slo_ms`` is slow."""
        self.requests += 1
        self.errors += error
        self.slow += latency_ms > slo_ms
        self.latencies_ms.append(latency_ms)

    def quantile_ms(self, share: float) -> float | None:
        """A latency quantile, or None without requests."""
        if not self.latencies_ms:
            return None
        ordered = sorted(self.latencies_ms)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


@dataclass(frozen=True)
class Route:
    """Where clients ask.

    Attributes:
        url: base URL.
        host: the host name to ask for, where it is not that of the URL.
    """

    url: str
    host: str = ""


class Clients(Protocol):
    """The clients of a running canary: how they are split and what came of it."""

    @property
    def has_incumbent(self) -> bool:
        """False for a first deployment, where all clients are the canary's."""
        ...

    @property
    def endpoint(self) -> Endpoint:
        """The canary alone, which no client is needed for."""
        ...

    @property
    def arms(self) -> Mapping[Arm, ArmRecord]:
        """What each arm did so far."""
        ...

    @property
    def canary_share(self) -> float:
        """Share of clients that the canary answers now."""
        ...

    @property
    def num_fallbacks(self) -> int:
        """Requests that the canary failed and the incumbent answered."""
        ...

    @property
    def num_client_errors(self) -> int:
        """Requests for which the client saw an error."""
        ...

    async def shift(self, observe: Observe) -> Route:
        """Gives the canary its share of the clients; from now on ``observe`` is called with every request that counts as evidence."""
        ...

    async def collect(self) -> None:
        """Called often; hands over what is not handed over as it happens."""
        ...

    def failure(self) -> str:
        """Why the canary cannot go on whatever its requests say; empty while it can."""
        ...

    def blind(self) -> str:
        """Why nothing may be concluded in the canary's favour now; empty when everything is seen."""
        ...

    def withdraw(self) -> None:
        """Asks for no further client to be sent to the canary; ``close`` returns when that is so."""
        ...

    async def close(self) -> None:
        """Ends the connections, and the canary's share when it was withdrawn."""
        ...


class Target(Protocol):
    """A place in which a canary runs beside the incumbent. Every method may be repeated, also by another process after a crash."""

    @property
    def replays(self) -> bool:
        """Whether the step sends requests of its own."""
        ...

    def settle(self, champion: Champion | None) -> None:
        """Makes what is served outside a canary what the ledger says, whatever a run before left behind."""
        ...

    def discard(self) -> None:
        """Takes the candidate away, wherever a run before has left it."""
        ...

    def started(self, champion: Champion | None) -> AbstractContextManager["Started"]:
        """Both arms as started, perhaps not ready; the canary is gone at the end of the block unless it was promoted."""
        ...


class Started(Protocol):
    """Both arms of a canary, started."""

    def wait_ready(self) -> None:
        """Returns when each arm has answered an inference.

        Raises:
            CanaryNotReadyError: the new model does not start.
            EnvironmentFault: the incumbent does not.
        """
        ...

    def clients(self) -> Clients:
        """The clients; asked for once both arms are ready."""
        ...

    def promote(self) -> None:
        """Makes the canary what is served; called when the ledger has named it champion."""
        ...
