"""The compiled pipelines on Kubeflow, from submission to what is in the store; tests/kfp runs the same functions against a double."""

import time
import uuid
from collections.abc import Callable

from pipelines import client, runs, schedules
from sightline.registry.ledger import Ledger
from sightline.store.outcomes import read_outcomes
from sightline.store.records import StepRecord, read_records
from tests.e2e.places import Kubeflow, tiny_config

TO_THE_FIRST_GATE = ["ingest", "tune", "train", "gate-trained"]


def records_of(kfp: Kubeflow, name: str) -> list[StepRecord]:
    return read_records(f"{kfp.store.runs}/{name}/steps")


def submit_and_wait(kfp: Kubeflow, key: str = "", **gate: object) -> runs.Run:
    made = client.submit("retrain", tiny_config(kfp.store, **gate), key, server=kfp.server, service_account=kfp.service_account)
    return runs.wait(kfp.server, made.run_id, timeout_s=kfp.patience_s, every_s=kfp.every_s)


def eventually(found: Callable[[], object], *, within_s: float) -> object:
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
    return value


def test_a_model_that_passes_both_gates_is_promoted_and_the_same_key_never_starts_a_second_run(kfp):
    key = f"promoted-{uuid.uuid4().hex[:6]}"
    run = submit_and_wait(kfp, key)
    assert (run.state, runs.outcome(run)) == ("SUCCEEDED", "promoted"), [
        (record.name, record.error) for record in records_of(kfp, run.name)
    ]
    assert [record.name for record in records_of(kfp, run.name)] == [*TO_THE_FIRST_GATE, "compile", "gate-compiled", "deploy"]
    champion = Ledger(kfp.store.registry).champion()
    assert champion is not None
    assert champion.run_id == run.name
    again = client.submit("retrain", tiny_config(kfp.store), key, server=kfp.server, service_account=kfp.service_account)
    assert (again.run_id, again.existing) == (run.run_id, True)


def test_a_model_that_the_gate_refuses_is_rejected_and_nothing_is_compiled(kfp):
    run = submit_and_wait(kfp, min_accuracy=0.999, margin=1e-6)
    assert (run.state, runs.outcome(run), runs.exit_code(run)) == ("SUCCEEDED", "rejected", 3)
    assert [record.name for record in records_of(kfp, run.name)] == TO_THE_FIRST_GATE
    assert [found.kind for found in read_outcomes(kfp.store, run.name)] == ["rejected"]


def test_a_schedule_fires_a_run_that_is_named_by_kubeflow_and_is_gone_after_its_file_is(kfp):
    # Without images that were served the run ends with an error at once; that it was fired, named and recorded is the point.
    fields = {"overrides": tuple(f"store.{name}={place}" for name, place in kfp.store.model_dump().items())}
    schedule = schedules.Schedule(
        name=f"e2e-{uuid.uuid4().hex[:6]}",
        pipeline="monitor",
        cron=kfp.soon,
        service_account=kfp.service_account,
        parameters={"served": f"{kfp.store.runs}/nothing-served"},
        **fields,
    )
    wanted = [schedules.declare(schedule)]
    made = schedules.apply(kfp.server, schedules.plan(wanted, []), prune=False)
    try:
        assert [change.kind for change in made] == ["add"]
        assert schedules.plan(wanted, [one for one in schedules.read_existing(kfp.server) if one.name == schedule.name]) == []
        fired = eventually(
            lambda: [run for run in runs.list_runs(kfp.server, limit=50) if run.name.startswith(schedule.name)], within_s=kfp.patience_s
        )
        assert fired[0].records == fired[0].run_id
    finally:
        ours = [one for one in schedules.read_existing(kfp.server) if one.name == schedule.name]
        schedules.apply(kfp.server, schedules.plan([], ours), prune=True)
    assert [one for one in schedules.read_existing(kfp.server) if one.name == schedule.name] == []


def test_a_run_whose_training_pod_is_deleted_succeeds_all_the_same(kfp, kubeconfig):
    # Argo calls this an error and not a failure: the workflow controller has to retry on both (retryPolicy: Always) or on errors.
    from sightline.cluster.api import Kind, connect

    config = tiny_config(kfp.store)
    config = config.model_copy(
        update={"train": config.train.model_copy(update={"seed": int(time.time()) % 10_000})}
    )  # no finished step helps
    made = client.submit("retrain", config, server=kfp.server, service_account=kfp.service_account)
    eventually(lambda: "train" in [record.name for record in records_of(kfp, made.name)], within_s=kfp.patience_s)
    cluster, pods = connect(kfp.namespace), Kind("", "v1", "pods")
    training = [
        pod["metadata"]["name"]
        for pod in cluster.pods(f"pipeline/runid={made.run_id}")
        if pod["status"]["phase"] == "Running" and "system-container-impl" in pod["metadata"]["name"]
    ]
    assert training, "the training pod was not found"
    for pod in training:
        cluster.delete(pods, pod)
    run = runs.wait(kfp.server, made.run_id, timeout_s=kfp.patience_s, every_s=kfp.every_s)
    assert run.state == "SUCCEEDED"
    assert [record.name for record in records_of(kfp, run.name)].count("train") >= 2


def test_a_run_that_was_stopped_says_so_and_can_be_tried_again(kfp):
    made = client.submit("retrain", replace_seed(kfp), server=kfp.server, service_account=kfp.service_account)
    run = runs.find_run(kfp.server, made.name)
    runs.stop(kfp.server, run)
    stopped = runs.wait(kfp.server, made.run_id, timeout_s=kfp.patience_s, every_s=kfp.every_s)
    assert stopped.state in {"CANCELED", "FAILED"}
    runs.retry(kfp.server, stopped)
    eventually(lambda: not runs.find_run(kfp.server, made.name).finished, within_s=kfp.patience_s)
    runs.stop(kfp.server, runs.find_run(kfp.server, made.name))


def replace_seed(kfp: Kubeflow):
    config = tiny_config(kfp.store)
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": 99})})
