"""The clients of an InferenceService, seen through the pages of its pods; KServe's route splits them."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from sightline.config.deploy import DeployConfig
from sightline.deploy.judge import Arm
from sightline.deploy.observe import ArmReader, Pod, Seen
from sightline.deploy.targets.base import ArmRecord, Observe, Route
from sightline.deploy.targets.inference_service import Body, Served, canary_names, stable_name, traffic_percent, with_canary
from sightline.deploy.wire import Endpoint
from sightline.errors import TemporaryError

if TYPE_CHECKING:
    from sightline.deploy.targets.kserve import Change

_READ_EVERY_S = 0.5
_LOOK_EVERY_S = 2.0


class _Service(Protocol):
    def read(self) -> Body | None: ...

    def change(self, change: "Change") -> None: ...

    def pods(self, name: str) -> list[Pod]: ...

    def remove(self, name: str) -> None: ...


class PodClients:
    """Real clients through the Gateway, and what the pods of both arms say about their requests.

    The route draws an arm for each request. Requests count from the first one that reaches the canary: before that the route may not have
    been changed yet. A request that no server answered (a pod that died) is seen as a restart of the canary, which ends it.
    """

    def __init__(self, service: _Service, config: DeployConfig, canary: Served, incumbent: Served | None, *, salt: str) -> None:
        self._service = service
        self._config = config
        self._names: dict[Arm, str] = {"canary": canary.name, **({"incumbent": incumbent.name} if incumbent else {})}
        self._canary = canary
        digests: dict[Arm, str] = {"canary": canary.digest, **({"incumbent": incumbent.digest} if incumbent else {})}
        self._readers = {arm: ArmReader(arm, version=digest[:12], port=config.metrics_port, salt=salt) for arm, digest in digests.items()}
        self._pods: dict[Arm, list[Pod]] = {arm: [] for arm in digests}
        self._observe: Observe | None = None
        self._read_at = self._looked_at = 0.0
        self._has_begun = incumbent is None
        self._is_withdrawn = False
        self._failure = ""
        self.has_incumbent = incumbent is not None
        self.arms = {arm: ArmRecord() for arm in digests}
        self.num_fallbacks = 0
        self._endpoints: dict[str, Endpoint] = {}
        self._address = ""
        self._look()
        if not self._address:
            raise TemporaryError("the canary's pods are not ready any more", remedy="try again")

    @property
    def endpoint(self) -> Endpoint:
        """A ready pod of the canary, or the last one that was."""
        host = f"[{self._address}]" if ":" in self._address else self._address
        url = f"http://{host}:{self._config.pod_port}"
        return self._endpoints.setdefault(url, Endpoint(url))

    @property
    def canary_share(self) -> float:
        """See Clients."""
        if self._is_withdrawn or self._observe is None:
            return 0.0
        return self._config.canary_share if self.has_incumbent else 1.0

    @property
    def num_client_errors(self) -> int:
        """Of both arms: nobody answers in another's place."""
        return sum(record.errors for record in self.arms.values())

    async def shift(self, observe: Observe) -> Route:
        """See Clients."""
        await asyncio.to_thread(self._look)
        for arm, reader in self._readers.items():
            await reader.skip(self._pods[arm])
        percent, share = round(self._config.canary_share * 100), self._config.canary_share
        if self.has_incumbent:
            await asyncio.to_thread(self._service.change, lambda body: with_canary(body, self._canary, percent=percent, share=share))
        self._observe = observe
        return await asyncio.to_thread(self._route) if self._config.replay else Route("")

    async def collect(self) -> None:
        """Reads the pods twice a second and the service every two."""
        now = time.monotonic()
        if now - self._read_at < _READ_EVERY_S:
            return
        self._read_at = now
        if now - self._looked_at >= _LOOK_EVERY_S:
            with contextlib.suppress(TemporaryError):  # the pods that are known are read on; new ones wait
                await asyncio.to_thread(self._look)
        found = await asyncio.gather(*(reader.read(self._pods[arm]) for arm, reader in self._readers.items()))
        for seen in self._counted(sorted((seen for part in found for seen in part), key=lambda seen: seen.time)):
            self._hand_over(seen)

    def failure(self) -> str:
        """See Clients."""
        reader = self._readers["canary"]
        return self._failure or reader.restarted or reader.foreign

    def blind(self) -> str:
        """See Clients."""
        if self._config.fault != "none":
            return f"a drill (deploy.fault {self._config.fault}) is never promoted"
        unseen = next((text for reader in self._readers.values() if (text := reader.foreign or reader.blind())), "")
        if not unseen and not self._has_begun:
            return "no request has reached the canary; KServe splits traffic only with ingress.enableGatewayApi"
        return unseen

    def withdraw(self) -> None:
        """See Clients."""
        self._is_withdrawn = True

    async def close(self) -> None:
        """See Clients."""
        for reader in self._readers.values():
            reader.close()
        for endpoint in self._endpoints.values():
            endpoint.close()
        if self._is_withdrawn:
            await asyncio.to_thread(self._service.remove, self._canary.name)

    def _counted(self, seen: list[Seen]) -> list[Seen]:
        if self._has_begun:
            return seen
        first = next((index for index, one in enumerate(seen) if one.observation.arm == "canary"), None)
        if first is None:
            return []
        self._has_begun = True
        return seen[first + 1 :]

    def _hand_over(self, seen: Seen) -> None:
        observation = seen.observation
        if self._observe is None or self._is_withdrawn:
            return
        if observation.latency_ms >= 0:  # not for one that was forgotten
            self.arms[observation.arm].add(observation.latency_ms, error=observation.error, slo_ms=self._config.latency_slo_ms)
        self._observe(observation)

    def _look(self) -> None:
        """Which pods there are, and whether the service is still as this deployment left it."""
        self._looked_at = time.monotonic()
        service = self._service.read()
        name = self._names["canary"]
        if service is None or name not in {stable_name(service), *canary_names(service)}:
            self._failure = "the canary was taken out of the service by somebody else"
            return
        if self._observe and self.has_incumbent and traffic_percent(service, name) != round(self._config.canary_share * 100):
            self._failure = "the canary's share of the traffic was changed by somebody else"
        self._pods = {arm: self._service.pods(predictor) for arm, predictor in self._names.items()}
        self._address = next((pod.address for pod in self._pods["canary"] if pod.ready), self._address)

    def _route(self) -> Route:
        """Where replayed requests go: to the Gateway, with the host name that the service's route listens to."""
        service = self._service.read() or {}
        stated = urlsplit(str((service.get("status") or {}).get("url", "")))
        if not stated.hostname:
            raise TemporaryError("the InferenceService states no address yet", remedy="try again")
        return Route(self._config.gateway or f"{stated.scheme}://{stated.netloc}", stated.netloc)
