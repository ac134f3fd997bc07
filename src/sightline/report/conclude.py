"""The end of a run, whatever happened: its evidence pack, and the proof that exactly one decision was made."""

import dataclasses
import tempfile
from pathlib import Path

from sightline.config.cluster import ClusterConfig
from sightline.config.store import StoreConfig
from sightline.errors import SightlineError
from sightline.report.champions import read_champions
from sightline.report.cost import read_prices
from sightline.report.evidence import RunEvidence, read_runs
from sightline.report.judge import Judgement, judge_run
from sightline.report.pack import REPORT, Summary, write_evidence
from sightline.store.artifact import write_file
from sightline.store.objects import open_store
from sightline.store.steps import run_name

# Argo and kfp.local say the first; Kubeflow's server passes on the words of its metadata store, and calls a run whose one branch was
# not taken still running. Then the records alone decide: without exactly one decision the run has failed all the same.
_NO_OBJECTION = frozenset({"SUCCEEDED", "COMPLETE", "CACHED", "RUNNING"})

_NO_CLUSTER = ClusterConfig()


def conclude(*, run_id: str, state: str, error: str, store: StoreConfig, page: str = "", cluster: ClusterConfig = _NO_CLUSTER) -> Summary:
    """Writes the pack of one run into its folder and returns the summary, if the run ended with exactly one decision.

    Args:
        run_id: the run.
        state: the scheduler's final status of the run, in any case of letters; words of failure make a failed run of it.
        error: the scheduler's message about it; may be empty.
        store: where the run's records are; the pack goes to ``<runs>/<run_id>``.
        page: where a copy of the report goes, for Kubeflow's run page; empty for none.
        cluster: where the prices of its pools are; with them the summary says what the run cost.

    Raises:
        SightlineError: the run failed, made no decision, or made two; the pack is written all the same.
    """
    run_id = run_name(run_id)
    place = f"{store.runs}/{run_id}"
    priced = read_prices(cluster.prices) if cluster.prices else None
    with tempfile.TemporaryDirectory(prefix="sightline-report-") as scratch:
        (run,) = read_runs(store, [run_id], scratch=Path(scratch))
        judgement = _with_state(judge_run(run), state, error)
        summary = write_evidence(
            place, runs=[run], judgement=judgement, champions=read_champions(store), title=f"Run {run_id}", prices=priced
        )
    if page:
        write_file(Path(page), open_store(place).read(REPORT))
    if summary.status == "failed":
        raise SightlineError(
            _message(run, judgement), remedy=f"see {summary.report}; finished steps are kept, so run it again once the cause is gone"
        )
    return summary


def _with_state(judgement: Judgement, state: str, error: str) -> Judgement:
    """The scheduler may know of a failure that no step recorded: a pod that was evicted, an image that was not there."""
    if judgement.status == "failed" or state.upper() in _NO_OBJECTION:
        return judgement
    told = f": {error.strip().splitlines()[0]}" if error.strip() else ""
    reason = f"the scheduler ended the run as {state or 'unknown'}{told} (recorded so far: {judgement.status})"
    return dataclasses.replace(judgement, status="failed", reason=reason, exit_code=1)


def _message(run: RunEvidence, judgement: Judgement) -> str:
    reason = judgement.reason.removeprefix("the run ended without a decision: ")
    if len(run.outcomes) > 1:
        return f"the run ended with more than one decision: {reason}"
    return f"the run failed: {reason}" if run.outcomes else f"the run ended without a decision: {reason}"
