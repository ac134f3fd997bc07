"""Runs on the cluster: what there is, how it ended, what its steps said, and whether it goes on."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines._parameters import CLUSTER_STORE
from pipelines.client import Server, calling, experiment, named
from sightline.config.store import StoreConfig
from sightline.errors import EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.store.outcomes import read_outcomes
from sightline.store.records import StepRecord, read_records

FINISHED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
_EXIT_CODES = {"promoted": 0, "rejected": 3, "rolled-back": 5, "wait": 0, "ignore": 0, "label": 0, "retrain": 4}
_FAILED = 1
_NUMBERING = re.compile(r"(-\d+)?(\(\d+.*\))?$")


@dataclass(frozen=True)
class Run:
    """A run as the server and the store know it.

    Attributes:
        run_id: Kubeflow's id.
        name: as shown; also the name of its records, unless it was started without one in the user interface.
        records: the name that its records have.
        state: PENDING, RUNNING, SUCCEEDED, FAILED, SKIPPED, CANCELING, CANCELED or PAUSED.
        started_at: when it was created.
        seconds: how long it took, or has taken so far.
        store: where its records are.
        url: its page.
    """

    run_id: str
    name: str
    records: str
    state: str
    started_at: datetime
    seconds: float
    store: StoreConfig
    url: str

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINISHED


def list_runs(server: Server, *, limit: int = 20) -> list[Run]:
    """The newest runs first."""
    with calling("list runs"):
        page = server.client.list_runs(page_size=limit, sort_by="created_at desc", experiment_id=experiment(server))
    return [_run(server, run) for run in page.runs or []]


def find_run(server: Server, run: str) -> Run:
    """The run with this name or id.

    Raises:
        UsageError: there is none.
    """
    with calling("find the run"):
        page = server.client.list_runs(experiment_id=experiment(server), filter=named(run), sort_by="created_at desc")
    if page.runs:
        return _run(server, page.runs[0])
    with calling(f"find run {run}"):
        return _run(server, server.client.get_run(run))


def _run(server: Server, run: Any) -> Run:
    given: Mapping[str, Any] = (run.runtime_config.parameters if run.runtime_config else None) or {}
    end = run.finished_at if str(run.state) in FINISHED and run.finished_at else datetime.now(UTC)
    return Run(
        run_id=str(run.run_id),
        name=str(run.display_name),
        records=str(given.get("run_id") or run.run_id),
        state=str(run.state or "PENDING"),
        started_at=run.created_at,
        seconds=max(0.0, (end - run.created_at).total_seconds()),
        store=StoreConfig.model_validate(given.get("store") or CLUSTER_STORE),
        url=server.page(str(run.run_id)),
    )


def steps(run: Run) -> list[StepRecord]:
    """The records of the run's steps, in the order in which they started."""
    return read_records(f"{run.store.runs}/{run.records}/steps")


def outcome(run: Run) -> str:
    """promoted, rejected, rolled-back, or a monitor run's decision; empty while there is none, "unknown" where the store cannot be read."""
    try:
        decided = [found.kind for found in read_outcomes(run.store, run.records)]
        return decided[0] if decided else next((step.outcome for step in steps(run) if step.name == "monitor"), "")
    except SightlineError:
        return "unknown"


def exit_code(run: Run) -> int:
    """0 promoted or nothing to do, 3 rejected, 4 drift, 5 rolled back; 1 when the run itself failed."""
    decided = outcome(run)
    if run.state != "SUCCEEDED" and decided not in {"rejected", "rolled-back"}:
        return _FAILED
    return _EXIT_CODES.get(decided, _FAILED)


def wait(
    server: Server, run_id: str, *, timeout_s: float, show: Callable[[StepRecord], None] = lambda _: None, every_s: float = 5.0
) -> Run:
    """The run after its end; each finished step is shown once.

    Raises:
        TemporaryError: it goes on after ``timeout_s`` seconds; the run itself is not touched.
    """
    deadline, shown = time.monotonic() + timeout_s, set[float]()
    while True:
        with calling(f"look at run {run_id}"):
            run = _run(server, server.client.get_run(run_id))
        for step in _finished_steps(run):
            if step.started_at not in shown:
                shown.add(step.started_at)
                show(step)
        if run.finished:
            return run
        if time.monotonic() > deadline:
            raise TemporaryError(f"run {run.name} goes on after {timeout_s:.0f} s", remedy=f"sightline runs wait {run.name}")
        time.sleep(every_s)


def _finished_steps(run: Run) -> list[StepRecord]:
    try:
        return [step for step in steps(run) if step.status != "running"]
    except (TemporaryError, EnvironmentFault):  # the run goes on, whether we can read its records or not
        return []


def retry(server: Server, run: Run) -> None:
    """Runs the failed steps of a finished run again; finished steps are kept.

    Raises:
        UsageError: it did not fail.
    """
    if run.state not in {"FAILED", "CANCELED"}:
        raise UsageError(f"run {run.name} is {run.state}, only a failed or canceled run can be tried again", remedy="submit a new one")
    with calling(f"retry run {run.name}"):
        server.client.runs.run_service_retry_run(run.run_id)


def stop(server: Server, run: Run) -> None:
    """Ends a run; its exit handler still reports.

    Raises:
        UsageError: it has ended.
    """
    if run.finished:
        raise UsageError(f"run {run.name} has ended: {run.state}")
    with calling(f"stop run {run.name}"):
        server.client.terminate_run(run.run_id)


def pod_logs(run: Run, step: str, *, namespace: str, tail: int = 200) -> Iterator[tuple[str, str]]:
    """(pod, last lines of its log) of the run's steps, where a cluster can be reached; nothing where none is configured.

    Args:
        run: the run.
        step: name of a step; empty: all.
        namespace: where runs are.
        tail: lines per pod.

    Raises:
        EnvironmentFault: pods may not be read.
    """
    from sightline.cluster.api import connect

    cluster = connect(namespace)
    for pod in cluster.pods(f"pipeline/runid={run.run_id}"):
        name = str(pod["metadata"]["name"])
        # Kubeflow runs a small driver pod before each step; its log says nothing about the step.
        if "system-container-impl" in name and belongs_to(pod, step):
            yield name, cluster.log(name, container="main", tail=tail)


def belongs_to(pod: Mapping[str, Any], step: str) -> bool:
    """Whether the pod worked for the step; each gate has the pods of both, because Kubeflow numbers them and names no stage."""
    node = str(pod["metadata"].get("annotations", {}).get("workflows.argoproj.io/node-name", ""))
    tasks = {_NUMBERING.sub("", part) for part in node.split(".")[1:]}
    return not step or not tasks or step.partition("-")[0] in tasks
