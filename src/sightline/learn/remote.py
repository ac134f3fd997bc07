"""A job of several machines, seen from the step that waits for it: created or adopted, followed to its end, deleted."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sightline.cluster.api import Cluster, Kind
from sightline.config.cluster import ClusterConfig
from sightline.errors import EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.learn.child import Emit, sigterm_raises
from sightline.learn.failure import explained_failure
from sightline.learn.node import ERRORS, EVENTS
from sightline.learn.staging import StagedJob
from sightline.store.objects import ConflictError, ObjectStore, open_store
from sightline.store.steps import Progress

STAGED = "sightline.dev/staged"
_POLL_S = 5.0
_PATIENCE_S = 600.0
_GONE_S = 300.0
_LOG_LINES = 25
# What Kubernetes says of a pod that it took away; a container that was ended with its node has exit code 137 or 143.
_TAKEN_AWAY = frozenset({"Evicted", "NodeLost", "NodeShutdown", "Preempting", "Shutdown", "Terminated"})
_ENDED = frozenset({137, 143})
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """What an object's status says.

    Attributes:
        phase: waiting is for the queue, starting for pods.
        why: for a failed one, the controller's own words.
    """

    phase: Literal["waiting", "starting", "running", "done", "failed"]
    why: str = ""


@dataclass(frozen=True)
class RemoteJob:
    """What to run.

    Attributes:
        name: for messages: "training", "the search".
        kind: of the object.
        body: the object; it carries its name.
        staged: the job that its processes fetch.
        state: reads an object's status.
        selector: labels of its pods.
        container: the one whose log explains a failure.
        timeout_s: seconds it may work, over all restarts; waiting in a queue does not count.
        timeout_key: the configuration key that the user would raise then.
        num_restarts: how often it is started again after its machines were taken away.
    """

    name: str
    kind: Kind
    body: Mapping[str, Any]
    staged: StagedJob
    state: Callable[[Mapping[str, Any]], State]
    selector: str
    container: str
    timeout_s: float
    timeout_key: str
    num_restarts: int

    @property
    def object_name(self) -> str:
        """The object's name, the same for the same job."""
        return str(self.body["metadata"]["name"])

    @property
    def store(self) -> ObjectStore:
        """The job's own part of the store."""
        return open_store(self.staged.uri.rpartition("/")[0])


def check_remote(cluster: ClusterConfig, place: str) -> None:
    """Makes sure that other machines can take part.

    Raises:
        UsageError: there is no image for them, or they could not read where the job is kept.
    """
    if not cluster.train_image:
        raise UsageError(
            "cluster.train_image is empty: jobs of their own need an image", remedy="name the training image, by digest or tag"
        )
    if "://" not in place:
        raise UsageError(f"other machines cannot read the folder {place}", remedy="set store.jobs to s3://bucket/prefix")


def run_remote(job: RemoteJob, cluster: Cluster, on_event: Emit, progress: Progress) -> None:
    """Runs the job to its end and hands over each event that its processes emit.

    A job that an earlier process of ours left running is adopted with all its events. However this returns, the object is deleted, and with
    it the pods; only when this process is killed outright does the job go on, to be adopted by the next attempt.

    Raises:
        SightlineError: the error of the job's own process, or what ended it with the end of its log.
        TemporaryError: its machines were taken away more often than it may be started again; another attempt goes on from there.
        SystemExit: SIGTERM came (code 143).
    """
    with sigterm_raises(), _deleted_afterwards(job, cluster):
        watch = _Watch(job, cluster, on_event, progress)
        for restart in range(job.num_restarts + 1):
            _obtain(job, cluster)
            ended = watch.follow()
            if ended.phase == "done":
                return
            failure = _failure(job, cluster, ended)
            if not isinstance(failure, TemporaryError):
                raise failure
            if restart < job.num_restarts:
                _LOG.warning("%s; restart %d of %d", failure.message, restart + 1, job.num_restarts)
                progress(f"{failure.message}; starting again")
                _delete_and_wait(job, cluster)
        raise failure


def _obtain(job: RemoteJob, cluster: Cluster) -> None:
    for key in job.store.list(f"{ERRORS}/"):
        job.store.delete(key)  # of an attempt before this one
    for _ in range(2):
        try:
            cluster.create(job.kind, job.body)
        except ConflictError:
            found = cluster.get(job.kind, job.object_name)
            annotations = found["metadata"].get("annotations") or {} if found else {}
            if annotations.get(STAGED) == job.staged.sha256 and not (found or {})["metadata"].get("deletionTimestamp"):
                _LOG.warning("%s '%s' is there already and is followed", job.kind.resource, job.object_name)
                return
            _delete_and_wait(job, cluster)
        else:
            return
    raise TemporaryError(f"somebody else creates {job.kind.resource} '{job.object_name}'", remedy="try again")


@contextmanager
def _deleted_afterwards(job: RemoteJob, cluster: Cluster) -> Iterator[None]:
    try:
        yield
    finally:
        try:
            cluster.delete(job.kind, job.object_name)
        except SightlineError as error:
            _LOG.warning("%s '%s' was not deleted: %s", job.kind.resource, job.object_name, error)


def _delete_and_wait(job: RemoteJob, cluster: Cluster) -> None:
    cluster.delete(job.kind, job.object_name)
    deadline = time.monotonic() + _GONE_S
    while cluster.get(job.kind, job.object_name) is not None or cluster.pods(job.selector):
        if time.monotonic() > deadline:
            raise TemporaryError(f"{job.kind.resource} '{job.object_name}' does not go away", remedy="look at its finalizers and its pods")
        time.sleep(_POLL_S / 5)


class _Watch:
    """Follows a job over its restarts: events once each, one clock for the time that it worked."""

    def __init__(self, job: RemoteJob, cluster: Cluster, on_event: Emit, progress: Progress) -> None:
        self._job = job
        self._cluster = cluster
        self._on_event = on_event
        self._progress = progress
        self._seen: set[str] = set()
        self._worked_s = 0.0
        self._said = ""

    def follow(self) -> State:
        """The state in which it ended, done or failed."""
        looked = answered = time.monotonic()
        while True:
            try:
                state = self._look()
                answered = time.monotonic()
            except TemporaryError as error:
                if time.monotonic() - answered > _PATIENCE_S:
                    raise
                _LOG.warning("%s cannot be seen for a moment: %s", self._job.name, error.message)
                state = State("starting")
            if state.phase in {"done", "failed"}:
                return state
            time.sleep(_POLL_S)
            now = time.monotonic()
            self._worked_s += 0.0 if state.phase == "waiting" else now - looked
            looked = now
            if self._worked_s > self._job.timeout_s:
                raise EnvironmentFault(
                    f"{self._job.name} was ended after {self._job.timeout_s:g} s", remedy=f"raise {self._job.timeout_key}"
                )

    def _look(self) -> State:
        found = self._cluster.get(self._job.kind, self._job.object_name)
        if found is None:
            raise EnvironmentFault(f"somebody deleted {self._job.kind.resource} '{self._job.object_name}'", remedy="run the step again")
        state = self._job.state(found)
        self._hand_over()
        if state.phase in {"waiting", "starting"} and state.phase != self._said:
            self._progress("waiting in the queue" if state.phase == "waiting" else "waiting for machines")
        self._said = state.phase
        return state

    def _hand_over(self) -> None:
        store = self._job.store
        for key in store.list(f"{EVENTS}/"):
            if key not in self._seen:
                event = json.loads(store.read(key))
                self._seen.add(key)
                self._on_event(event)


def _failure(job: RemoteJob, cluster: Cluster, ended: State) -> SightlineError:
    reports = [json.loads(job.store.read(key)) for key in job.store.list(f"{ERRORS}/")]
    if (known := explained_failure(reports)) is not None:
        return known
    pods = cluster.pods(job.selector)
    if not pods or any(_taken_away(pod) for pod in pods):
        return TemporaryError(f"the machines of {job.name} were taken away", remedy="try again; it goes on from its last checkpoint")
    if any("OOMKilled" in _reasons(pod) for pod in pods):
        return EnvironmentFault(
            f"{job.name} was killed for its memory", remedy="raise cluster.memory_gib_per_node or lower train.batch_size"
        )
    said = f": {reports[0]['kind']}: {reports[0]['message']}" if reports else f": {ended.why}" if ended.why else ""
    return SightlineError(f"{job.name} failed{said}; the end of its log:\n{_log(job, cluster, pods)}")


def _taken_away(pod: Mapping[str, Any]) -> bool:
    status = pod.get("status") or {}
    disrupted = any(entry["type"] == "DisruptionTarget" and entry["status"] == "True" for entry in status.get("conditions") or ())
    ended = {int(state.get("exitCode", 0)) for state in _terminated(pod) if state.get("reason") != "OOMKilled"}
    return disrupted or status.get("reason") in _TAKEN_AWAY or bool(ended & _ENDED)


def _terminated(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return [container["state"]["terminated"] for container in containers if container.get("state", {}).get("terminated")]


def _reasons(pod: Mapping[str, Any]) -> set[str]:
    return {str(state.get("reason", "")) for state in _terminated(pod)}


def _log(job: RemoteJob, cluster: Cluster, pods: list[dict[str, Any]]) -> str:
    """The last lines of the pods that failed, or of all when none says so."""
    failed = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed"] or pods
    parts = []
    for pod in failed[:3]:
        name = str(pod["metadata"]["name"])
        parts.append(f"[{name}]\n{cluster.log(name, container=job.container, tail=_LOG_LINES)}".rstrip())
    return "\n".join(parts)
