"""The templates on plain Argo Workflows, from submission to what is in the store; tests/argo runs the same functions against a double.

The templates are applied as they are in this checkout.
"""

import json
import time
import uuid

import pytest

from pipelines._parameters import DEFAULT
from pipelines.argo import runs
from pipelines.argo.apply import apply, read, remove
from pipelines.argo.compiled import document, documents
from pipelines.argo.schedules import cron_workflow
from pipelines.schedules import Schedule
from sightline.config.run import RunConfig
from sightline.registry.ledger import Ledger
from sightline.store.objects import open_store
from sightline.store.outcomes import read_outcomes
from sightline.store.records import StepRecord, read_records
from tests.e2e.places import Argo, tiny_config
from tests.e2e.waiting import eventually

TO_THE_FIRST_GATE = ["ingest", "tune", "train", "gate-trained"]
TO_THE_SECOND_GATE = [*TO_THE_FIRST_GATE, "compile", "gate-compiled"]
FINISHED = ("Succeeded", "Failed", "Error")


@pytest.fixture(scope="module", autouse=True)
def templates(argo):
    files = documents(DEFAULT)
    return apply(argo.server, [*files["retrain"], *files["monitor"]])


def records_of(argo: Argo, name: str) -> list[StepRecord]:
    return read_records(f"{argo.store.runs}/{name}/steps")


def summary_of(argo: Argo, name: str) -> dict:
    return json.loads(open_store(f"{argo.store.runs}/{name}").read("summary.json"))


def start(argo: Argo, config: RunConfig, *, key: str = "", **parameters: str) -> runs.Submission:
    return runs.submit(argo.server, "retrain", key=key, config=config, parameters=parameters)


def finished(argo: Argo, name: str) -> runs.Run:
    def look() -> runs.Run | None:
        run = runs.get(argo.server, name)
        return run if run.phase in FINISHED else None

    return eventually(look, within_s=argo.patience_s, every_s=argo.every_s)


def trained_anew(config: RunConfig) -> RunConfig:
    """No finished step of another run helps this one."""
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": int(time.time()) % 10_000})})


def test_a_model_that_passes_both_gates_is_promoted_and_the_same_key_never_starts_a_second_run(argo):
    config, key = tiny_config(argo.store), f"promoted-{uuid.uuid4().hex[:6]}"
    made = start(argo, config, key=key)
    run = finished(argo, made.run.name)
    records = records_of(argo, run.name)
    assert run.phase == "Succeeded", [(record.name, record.error) for record in records]
    assert [record.name for record in records] == [*TO_THE_SECOND_GATE, "deploy"]
    assert [found.kind for found in read_outcomes(argo.store, run.name)] == ["promoted"]
    assert summary_of(argo, run.name)["status"] == "promoted"
    champion = Ledger(argo.store.registry).champion()
    assert champion is not None
    assert champion.run_id == run.name
    again = start(argo, config, key=key)
    assert (again.run.name, again.created) == (run.name, False)


def test_a_model_that_the_gate_refuses_is_rejected_and_nothing_is_compiled(argo):
    run = finished(argo, start(argo, tiny_config(argo.store, min_accuracy=0.999)).run.name)
    assert run.phase == "Succeeded", "a rejected model is a result"
    assert [record.name for record in records_of(argo, run.name)] == TO_THE_FIRST_GATE
    assert [found.kind for found in read_outcomes(argo.store, run.name)] == ["rejected"]
    assert summary_of(argo, run.name)["status"] == "rejected"


def test_a_run_that_waits_for_a_person_deploys_nothing_before_it_is_approved(argo):
    made = start(argo, tiny_config(argo.store), approval="required")
    eventually(
        lambda: [one.name for one in records_of(argo, made.run.name) if one.status == "done"] == TO_THE_SECOND_GATE,
        within_s=argo.patience_s,
    )
    time.sleep(10 * argo.every_s)
    assert runs.get(argo.server, made.run.name).phase == "Running"
    assert "deploy" not in [record.name for record in records_of(argo, made.run.name)]
    runs.approve(argo.server, made.run.name)
    assert finished(argo, made.run.name).phase == "Succeeded"
    assert records_of(argo, made.run.name)[-1].name == "deploy"


def test_a_run_that_was_stopped_is_reported_and_can_be_tried_again(argo):
    made = start(argo, trained_anew(tiny_config(argo.store)))
    eventually(lambda: "train" in [record.name for record in records_of(argo, made.run.name)], within_s=argo.patience_s)
    runs.stop(argo.server, made.run.name, why="end-to-end test")
    assert finished(argo, made.run.name).phase == "Failed"
    assert summary_of(argo, made.run.name)["status"] == "failed"
    runs.retry(argo.server, made.run.name)
    assert finished(argo, made.run.name).phase == "Succeeded"


def test_a_schedule_starts_a_run_and_is_gone_after_it_was_removed(argo):
    # Without images that were served the run ends with an error at once; that it was started is the point.
    overrides = tuple(f"store.{name}={place}" for name, place in argo.store.model_dump().items())
    schedule = Schedule(
        name=f"e2e-{uuid.uuid4().hex[:6]}",
        pipeline="monitor",
        cron="0 * * * * *",
        overrides=overrides,
        parameters={"served": f"{argo.store.runs}/nothing-served"},
    )
    body = document(cron_workflow(schedule))
    name = f"CronWorkflow/{schedule.name}"
    assert apply(argo.server, [body]) == {name: "created"}
    try:
        assert apply(argo.server, [body]) == {name: "unchanged"}
        started = eventually(
            lambda: [run for run in runs.list_runs(argo.server, pipeline="monitor") if run.name.startswith(schedule.name)],
            within_s=argo.patience_s,
            every_s=argo.every_s,
        )
    finally:
        remove(argo.server, "CronWorkflow", schedule.name)
    assert read(argo.server, "CronWorkflow", schedule.name) is None
    finished(argo, started[0].name)
    assert [record.name for record in records_of(argo, started[0].name)] == ["monitor"]


def test_a_run_whose_training_pod_is_deleted_succeeds_all_the_same(argo, kubeconfig):
    from sightline.cluster.api import Kind, connect

    made = start(argo, trained_anew(tiny_config(argo.store)))
    eventually(lambda: "train" in [record.name for record in records_of(argo, made.run.name)], within_s=argo.patience_s)
    cluster = connect(argo.server.namespace)
    selector = f"workflows.argoproj.io/workflow={made.run.name},sightline.dev/step=train"
    training = [pod["metadata"]["name"] for pod in cluster.pods(selector) if pod["status"]["phase"] == "Running"]
    assert training, "the training pod was not found"
    for pod in training:
        cluster.delete(Kind("", "v1", "pods"), pod)
    assert finished(argo, made.run.name).phase == "Succeeded"
    assert [record.name for record in records_of(argo, made.run.name)].count("train") >= 2
