"""A canary of a KServe InferenceService: started in the dark, then given its share of the route, promoted without a restart.

Every change is a replacement of the object as it was read (``resourceVersion``), worked out anew when somebody was faster, so repeating one
is harmless. The ledger decides what is in production: whatever a killed deployment left behind is brought back to it by ``settle``.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from sightline.cluster.api import INFERENCE_SERVICE, Cluster
from sightline.config.deploy import DeployConfig
from sightline.deploy.observe import Pod, pods_of
from sightline.deploy.targets.base import CanaryNotReadyError
from sightline.deploy.targets.clients import PodClients
from sightline.deploy.targets.inference_service import (
    MODE,
    STANDARD,
    Body,
    Served,
    canary_names,
    in_the_dark,
    is_ready,
    new_service,
    pod_selector,
    promoted,
    stable_name,
    with_canary,
    without_canary,
)
from sightline.errors import DataError, EnvironmentFault, TemporaryError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Champion, Ledger
from sightline.store.objects import ConflictError

_ATTEMPTS = 6
_PAUSE_S = 1.0
_LOOK_EVERY_S = 0.5
_HOPELESS = ("ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CrashLoopBackOff")
_GONE_TIMEOUT_S = 120.0
Change = Callable[[Body], Body | None]
_Value = TypeVar("_Value")


class KServeTarget:
    """The InferenceService named ``deploy.model``.

    Args:
        cluster: the namespace of the service.
        config: how the service and its pods are called.
        ledger: the registry, which has to be on S3, because the pods load the model from there.
        bundle: the candidate.
        salt: of the client names in the evidence.

    Raises:
        UsageError: the registry is not on S3.
    """

    def __init__(self, cluster: Cluster, config: DeployConfig, *, ledger: Ledger, bundle: ModelBundle, salt: str) -> None:
        require_reachable(ledger)
        self._service = Service(cluster, config.model)
        self._config = config
        self._ledger = ledger
        self._bundle = bundle
        self._salt = salt
        self.replays = config.replay

    def settle(self, champion: Champion | None) -> None:
        """See Target: the champion is the predictor, and no client is sent to anything else.

        A champion that is not served yet (the registry was rolled back, or comes from another place) is started beside what is served and
        takes over when it is ready.

        Raises:
            DataError: a service of this name serves something although the registry has no champion.
            EnvironmentFault: the champion does not start, or the service is not in Standard mode.
        """
        service = self._service.read()
        if champion is None:
            self._settle_first(service)
            return
        served, ours = self._served(champion.digest), self._served(self._bundle.digest).name
        self._service.serve(served, replicas=self._config.replicas, timeout_s=self._config.ready_timeout_s, keep=ours)

    def discard(self) -> None:
        """See Target."""
        self._service.remove(self._served(self._bundle.digest).name)

    @contextlib.contextmanager
    def started(self, champion: Champion | None) -> Iterator["ClusterArms"]:
        """See Target; after ``settle``."""
        config = self._config
        drill = ("--fault", config.fault, "--fault-delay-s", f"{2 * config.latency_slo_ms / 1e3:g}") if config.fault != "none" else ()
        self._ledger.keep(self._bundle)
        served = self._served(self._bundle.digest, drill)
        if champion is None:
            self._service.create(new_service(config.model, served, replicas=config.replicas))
        else:
            self._service.change(lambda body: with_canary(body, served, percent=0, share=config.canary_share))
        arms = ClusterArms(self._service, config, served, self._served(champion.digest) if champion else None, salt=self._salt)
        try:
            yield arms
        finally:
            if not arms.is_promoted:
                self._service.remove(served.name)

    def _served(self, digest: str, arguments: tuple[str, ...] = ()) -> Served:
        return Served(digest, self._ledger.address(digest), self._config.runtime, arguments)

    def _settle_first(self, service: Body | None) -> None:
        """Takes away what a first deployment that was killed has left."""
        if service is None:
            return
        name = stable_name(service)
        if (service["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") != "sightline":
            raise DataError(
                f"InferenceService '{self._config.model}' serves '{name}', which the registry knows nothing of",
                remedy="choose another deploy.model, or delete the service",
            )
        self._service.remove(name)


class Service:
    """One InferenceService and the changes to it."""

    def __init__(self, cluster: Cluster, name: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.cluster = cluster
        self.name = name
        self._sleep = sleep

    def read(self) -> Body | None:
        """The service, or None; EnvironmentFault when it is not in Standard mode, which alone has such canaries."""
        service = self.cluster.get(INFERENCE_SERVICE, self.name)
        if service is not None and (service["metadata"].get("annotations") or {}).get(MODE) != STANDARD:
            raise EnvironmentFault(
                f"InferenceService '{self.name}' has no annotation {MODE}: {STANDARD}, so it cannot have a canary",
                remedy="make it again in Standard mode; the annotation of a running service must not be changed",
            )
        return service

    def create(self, body: Body) -> None:
        """Makes the service; one that is there already and is meant for the same model is fine."""

        def attempt() -> None:
            try:
                self.cluster.create(INFERENCE_SERVICE, body)
            except ConflictError:
                there = self.read()
                if there is None or stable_name(there) != body["spec"]["predictor"]["name"]:
                    raise

        self._repeated(attempt)

    def serve(self, served: Served, *, replicas: int, timeout_s: float, keep: str = "") -> None:
        """Makes a model the predictor. What is served until then goes on until the model is ready; no canary has clients afterwards.

        Args:
            served: the model; one that is a canary already takes over as it runs.
            replicas: pods of a service that has to be made.
            timeout_s: for the model to become ready.
            keep: name of a canary that may go on without clients; all others end.

        Raises:
            EnvironmentFault: it does not become ready.
        """
        service = self.read()
        if service is None:
            self.create(new_service(self.name, served, replicas=replicas))
        elif stable_name(service) == served.name:
            self.change(lambda body: in_the_dark(body, keep))
        elif served.name not in canary_names(service):
            self.change(lambda body: with_canary(body, served, percent=0, share=1.0))
        try:
            self.wait_ready(served.name, timeout_s)
        except CanaryNotReadyError as error:
            raise EnvironmentFault(f"the champion is not served: {error.message}", remedy="repair the InferenceService") from None
        self.take_over(served.name, keep=keep)

    def change(self, change: Change) -> None:
        """Replaces the service by what ``change`` makes of it, again when somebody else changed it meanwhile; None: nothing to do.

        Raises:
            ConflictError: somebody else was faster every time.
            EnvironmentFault: the service is gone, or the cluster refuses the change.
        """

        def attempt() -> None:
            service = self.read()
            if service is None:
                raise EnvironmentFault(f"InferenceService '{self.name}' is gone", remedy="run the step again")
            wanted = change(service)
            if wanted is not None and wanted != service:
                self.cluster.replace(INFERENCE_SERVICE, wanted)

        self._repeated(attempt)

    def take_over(self, name: str, *, keep: str = "") -> None:
        """Makes the canary of that name the predictor, without restarting it, and ends all canaries but ``keep``, which gets no clients."""

        def promotion(body: Body) -> Body | None:
            if stable_name(body) == name:
                return in_the_dark(body, keep)
            if name not in canary_names(body):
                raise EnvironmentFault(f"InferenceService '{self.name}' has no canary '{name}' any more", remedy="run the step again")
            return promoted(body, name)

        self.change(promotion)

    def remove(self, name: str) -> None:
        """Ends the model of that name: its canary, or the whole service when it serves nothing else."""
        service = self._repeated(self.read)
        if service is None:
            return
        if stable_name(service) == name:
            self._delete()
        elif name in canary_names(service):
            self.change(lambda body: without_canary(body) if name in canary_names(body) else None)

    def _delete(self) -> None:
        """Deletes the service and returns when it is gone: a new one of the same name could not be made before."""
        deadline = time.monotonic() + _GONE_TIMEOUT_S
        self._repeated(lambda: self.cluster.delete(INFERENCE_SERVICE, self.name))
        while self._repeated(self.read) is not None:
            if time.monotonic() >= deadline:
                raise TemporaryError(f"InferenceService '{self.name}' is still being deleted", remedy="try again; look at its finalizers")
            self._sleep(_LOOK_EVERY_S)

    def pods(self, name: str) -> list[Pod]:
        """The pods of one predictor or canary that have an address."""
        return pods_of(self.cluster.pods(pod_selector(self.name, name)))

    def wait_ready(self, name: str, timeout_s: float) -> None:
        """Returns when KServe says that the predictor or canary serves, and one of its pods is ready.

        Raises:
            CanaryNotReadyError: it is not after ``timeout_s``, or cannot become so; the message has what its pods say.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            service = self._repeated(self.read)
            if service is None or name not in {stable_name(service), *canary_names(service)}:
                raise CanaryNotReadyError(f"'{name}' was taken out of InferenceService '{self.name}' by somebody else")
            if is_ready(service, name) and any(pod.ready for pod in self._repeated(lambda: self.pods(name))):
                return
            words, is_hopeless = self._last_words(name)
            if is_hopeless or time.monotonic() >= deadline:
                raise CanaryNotReadyError(f"'{name}' is not ready{'' if is_hopeless else f' after {timeout_s:g} s'}: {words}")
            self._sleep(_LOOK_EVERY_S)

    def _last_words(self, name: str) -> tuple[str, bool]:
        """What the pods of a model that does not become ready say, and whether waiting is of no use."""
        pods = self._repeated(lambda: self.cluster.pods(pod_selector(self.name, name)))
        waiting = [found for pod in pods for found in _waiting(pod)]
        if not pods:
            return "it has no pods", False
        log = ""
        with contextlib.suppress(EnvironmentFault):  # the reason is worth more than the permission to read logs
            log = self.cluster.log(str(pods[0]["metadata"]["name"]), container="kserve-container", tail=3)
        words = "; ".join([*dict.fromkeys(waiting), " | ".join(log.strip().splitlines())[-300:]]).strip("; ")
        return words or "its pods are starting", any(reason in _HOPELESS for reason in waiting)

    def _repeated(self, call: Callable[[], _Value]) -> _Value:
        """The call's result; a call that may succeed later is repeated for a while."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return call()
            except TemporaryError:
                self._sleep(_PAUSE_S * attempt)
        return call()


class ClusterArms:
    """The candidate as a canary in the dark, or as the only predictor of a new service."""

    def __init__(self, service: Service, config: DeployConfig, canary: Served, incumbent: Served | None, *, salt: str) -> None:
        self._service = service
        self._config = config
        self._canary = canary
        self._incumbent = incumbent
        self._salt = salt
        self.is_promoted = False

    def wait_ready(self) -> None:
        """See Started; the incumbent was looked at by ``settle``."""
        self._service.wait_ready(self._canary.name, self._config.ready_timeout_s)

    def clients(self) -> PodClients:
        """See Started."""
        return PodClients(self._service, self._config, self._canary, self._incumbent, salt=self._salt)

    def promote(self) -> None:
        """See Started."""
        self.is_promoted = True  # first: from here on the ledger names this model, and nobody may take it away
        self._service.take_over(self._canary.name)


def require_reachable(ledger: Ledger) -> None:
    """Raises UsageError unless pods can load models from the registry."""
    if not ledger.root.startswith("s3://"):
        raise UsageError(
            f"the target is 'kserve', and its pods cannot read the registry '{ledger.root}'",
            remedy="use a registry on s3:// (store.registry)",
        )


def _waiting(pod: Mapping[str, Any]) -> list[str]:
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    states = [(container.get("state") or {}).get("waiting") or {} for container in containers]
    return [str(state["reason"]) for state in states if state.get("reason")]
