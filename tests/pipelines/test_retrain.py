"""Both branches of each gate, the exit handler, and a run without a decision, through the real kfp.local."""

import json
from pathlib import Path

import pytest

from sightline.store.outcomes import read_outcomes
from tests.pipelines.small import small_config

TO_THE_FIRST_GATE = ["ingest", "tune", "train", "gate-trained"]
TO_THE_SECOND_GATE = [*TO_THE_FIRST_GATE, "compile", "gate-compiled"]


def names(records):
    return [record.name for record in records]


def summary_of(store, run_id="run"):
    return json.loads((Path(store.runs) / run_id / "summary.json").read_text())


def outcomes(store, run_id="run"):
    return [outcome.kind for outcome in read_outcomes(store, run_id)]


def test_a_model_that_passes_both_gates_is_deployed_and_the_next_run_repeats_no_finished_step(retrain, store, images):
    records = retrain(small_config(images))
    assert names(records) == [*TO_THE_SECOND_GATE, "deploy"], [record.error for record in records]
    assert outcomes(store) == ["promoted"]
    assert "golden images" in (Path(records[-1].folder) / "MODEL_CARD.md").read_text()
    assert summary_of(store)["status"] == "promoted"
    assert (Path(store.runs) / "run" / "report.html").read_text().lower().startswith("<!doctype html>")

    again = retrain(small_config(images), run_id="again")
    repeated = {record.name for record in again if not record.cached}
    # There is a champion now, so the gate has somebody new to compare with.
    assert repeated == {"gate-trained", "gate-compiled", "deploy"}
    assert outcomes(store, "again") == ["promoted"]


def test_a_trained_model_that_the_gate_refuses_is_rejected_and_nothing_is_compiled(retrain, store, images):
    records = retrain(small_config(images, min_accuracy=0.999))
    assert names(records) == TO_THE_FIRST_GATE
    assert records[-1].outcome in {"fail", "inconclusive"}
    assert outcomes(store) == ["rejected"]
    assert summary_of(store)["exit_code"] == 3


def test_a_compiled_model_that_the_gate_refuses_is_rejected_and_nothing_is_deployed(retrain, store, images):
    records = retrain(small_config(images, max_p95_ms=1e-6))
    assert names(records) == TO_THE_SECOND_GATE
    assert [record.outcome for record in records if record.name.startswith("gate")] == ["pass", "fail"]
    assert outcomes(store) == ["rejected"]
    assert summary_of(store)["status"] == "rejected"


def test_the_exit_handler_reports_a_run_whose_step_failed(retrain, store, tmp_path):
    records = retrain(small_config(tmp_path / "nothing-here"))
    assert [(record.name, record.status) for record in records] == [("ingest", "failed")]
    assert records[0].exit_code in {2, 65}
    summary = summary_of(store)
    assert summary["status"] == "failed"
    assert summary["exit_code"] == records[0].exit_code
    assert outcomes(store) == []


def test_a_run_that_neither_promoted_nor_rejected_is_an_error_although_kubeflow_calls_it_a_success(store, tmp_path, monkeypatch):
    # kfp.local evaluates conditions as text: a value with a quote in it skips both branches and the run still succeeds.
    from kfp import dsl, local

    import components

    @dsl.component(install_kfp_package=False, base_image="python:3.11")
    def quoted() -> str:
        return "it's"

    @dsl.pipeline(name="silent")
    def silent(run_id: str, store: dict):
        with dsl.ExitHandler(components.report(run_id=run_id, store=store, cluster={})):
            said = quoted()
            with dsl.If(said.outputs["Output"] == "pass"):
                quoted()

    monkeypatch.chdir(tmp_path)
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    with pytest.raises(RuntimeError):
        silent(run_id="silent", store=store.model_dump())
    assert summary_of(store, "silent")["status"] == "failed"
