"""The summary's rules, and that a pack is written whatever is missing."""

import json
import shutil
from pathlib import Path

import pytest
from report_world import World, detection, waived

from sightline.errors import SightlineError
from sightline.evaluate.verdict import Verdict
from sightline.report.conclude import conclude
from sightline.report.pack import Summary, write_pack
from sightline.store.artifact import MANIFEST


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def pack(world: World, *run_ids: str) -> tuple[Summary, str]:
    folder = world.root / "pack"
    summary = write_pack(folder, store=world.store, run_ids=run_ids, title="Nightly")
    assert Summary.model_validate_json((folder / "summary.json").read_bytes()) == summary
    assert summary.report == str(folder / "report.html")
    return summary, (folder / "report.html").read_text()


def test_a_promoted_run_says_which_generation_replaces_which_and_on_what_evidence(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.retrain("run-2", champion=1)
    summary, page = pack(world, "run-1", "run-2")
    assert (summary.status, summary.exit_code, summary.run) == ("promoted", 0, "run-2")
    assert summary.sentence.startswith("Promoted: generation 2 replaces generation 1. Overall accuracy 93.1")
    assert "+4.2 points, 90\u202f% interval +2.6 … +5.8" in summary.sentence
    assert "canary healthy over 1\u202f204 requests" in summary.sentence
    assert "Generation 2 replaces generation 1." in page
    assert summary.chosen_backend == "openvino-int8"
    assert summary.champion is not None
    assert (summary.champion.generation, summary.champion.previous) == (2, 1)
    assert summary.canary is not None
    assert (summary.canary.run, summary.canary.requests, summary.canary.arms["canary"].requests) == ("run-2", 1204, 588)
    assert [step.name for step in summary.steps[:7]] == ["ingest", "tune", "train", "gate-trained", "compile", "gate-compiled", "deploy"]


def test_the_first_model_is_called_the_first_champion_and_claims_no_difference(world: World) -> None:
    world.retrain("run-1", champion=0)
    summary, page = pack(world, "run-1")
    assert summary.sentence.startswith("Promoted: generation 1 is the first champion. Overall accuracy 93.1")
    assert "shown to be at least 90.0" in summary.sentence
    assert summary.gate[0].champion_value is None
    assert summary.gate[0].difference is None
    assert "Images that changed sides" not in page


def test_the_gate_summary_has_the_worst_judged_slice(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.retrain("run-2", "rejected")
    gate = pack(world, "run-1", "run-2")[0].gate[-1]
    assert (gate.run, gate.stage, gate.outcome) == ("run-2", "trained", "fail")
    assert gate.worst_slice is not None
    assert gate.worst_slice.name == "light=night"
    assert gate.worst_slice.difference == pytest.approx(-0.14)
    assert gate.looks == 4
    assert gate.golden_digest == "77" * 32


def test_a_promotion_by_override_says_so_in_its_first_sentence_with_name_and_end(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.change = lambda verdict: waived(verdict, "light=night", "site=C")
    world.retrain("run-2", champion=1)
    summary, page = pack(world, "run-1", "run-2")
    lead = (
        "generation 2 replaces generation 1, only by override: A.\u00a0Person (until 2026-11-30 00:53 UTC) "
        "waived light=night and site=C, which do not pass."
    )
    assert summary.status == "promoted"
    assert summary.sentence.startswith(f"Promoted: {lead} Overall accuracy")
    assert f"<h1>G{lead[1:]}</h1>" in page
    assert "no other slice is shown to be worse" in summary.sentence
    assert "no slice" not in summary.sentence
    assert summary.gate[-1].waived == ("light=night", "site=C")
    assert [override.who for override in summary.gate[-1].overrides] == ["A. Person"]


def test_an_override_at_the_first_gate_alone_is_told_too(world: World) -> None:
    world.change = lambda verdict: waived(verdict, "overall") if verdict.stage == "trained" else verdict
    world.retrain("run-1", champion=0)
    summary, _ = pack(world, "run-1")
    assert "is the first champion, only by override: A.\u00a0Person" in summary.sentence
    assert [gate.waived for gate in summary.gate] == [("overall",), ()]


def test_waived_checks_without_an_override_name_nobody(world: World) -> None:
    world.change = lambda verdict: waived(verdict, "overall").model_copy(update={"overrides": ()})
    world.retrain("run-1", champion=0)
    summary, page = pack(world, "run-1")
    assert "only by override: a person whom the verdict does not name waived overall, which does not pass." in summary.sentence
    assert "the verdict does not say by whom" in page


def test_without_an_override_nobody_reads_of_one(world: World) -> None:
    world.retrain("run-1", champion=0)
    summary, page = pack(world, "run-1")
    assert "override" not in summary.sentence
    assert 'class="override"' not in page


def test_slices_that_were_not_judged_are_not_called_good(world: World) -> None:
    def unjudged(verdict: Verdict) -> Verdict:
        checks = [c.model_copy(update={"required": False, "outcome": "info"}) if c.kind == "slice" else c for c in verdict.checks]
        return verdict.model_copy(update={"checks": tuple(checks)})

    world.change = unjudged
    world.retrain("run-1", champion=0)
    assert "slice" not in pack(world, "run-1")[0].sentence


def test_a_detector_is_told_by_its_own_metric_and_level(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.change = detection
    world.retrain("run-2", champion=1)
    summary, page = pack(world, "run-1", "run-2")
    assert "Overall AP 0.931 (+4.2 points, 98\u202f% interval +2.6 … +5.8) on 720 golden images" in summary.sentence
    assert "accuracy" not in summary.sentence
    gate = summary.gate[-1]
    assert (gate.metric, gate.value, gate.attempt, gate.alpha) == ("AP", pytest.approx(0.931), 3, 0.0125)
    assert gate.worst_slice is not None
    assert gate.worst_slice.name != "weight > 3"
    cards = page[page.index('class="cards"') : page.index("</ul>", page.index('class="cards"'))]
    assert '<span class="name">AP</span><span class="value">0.931</span>' in cards
    assert "champion 0.889 · +4.2 points" in cards
    assert ">Accuracy<" not in cards


def test_a_rejected_run_ends_with_exit_code_3_and_names_who_keeps_serving(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.retrain("run-2", "rejected")
    summary, page = pack(world, "run-1", "run-2")
    assert (summary.status, summary.exit_code) == ("rejected", 3)
    assert summary.sentence == "Rejected: generation 1 keeps serving. light=night lost 14.0 points."
    assert page.count("Run run-2 did not reach this step.") == 2  # compile and canary
    assert summary.chosen_backend == ""


def test_a_rolled_back_run_ends_with_exit_code_5(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.retrain("run-2", "rolled-back")
    summary, _ = pack(world, "run-2")
    assert (summary.status, summary.exit_code) == ("rolled-back", 5)
    assert "canary failed 61 of 588 requests" in summary.sentence


@pytest.mark.parametrize(("decision", "code"), [("wait", 0), ("ignore", 0), ("label", 0), ("retrain", 4)])
def test_a_run_that_only_monitored_asks_for_a_retraining_by_its_exit_code(world: World, decision: str, code: int) -> None:
    world.monitor("look", decision)
    summary, _ = pack(world, "look")
    assert (summary.status, summary.exit_code) == ("monitored", code)
    assert summary.drift is not None
    assert (summary.drift.decision, summary.drift.num_served) == (decision, 400)


def test_a_look_at_drift_does_not_hide_how_the_retraining_ended(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.monitor("look")
    summary, _ = pack(world, "run-1", "look")
    assert (summary.status, summary.run, summary.exit_code) == ("promoted", "run-1", 0)


def test_the_last_run_decides_so_a_failure_after_a_promotion_is_a_failure(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.ingest("run-2")
    world.record("run-2", "train", status="failed", error="the disk is full\nsecond line", exit_code=75)
    summary, page = pack(world, "run-1", "run-2")
    assert (summary.status, summary.exit_code, summary.run) == ("failed", 75, "run-2")
    assert summary.reason == "step train failed: the disk is full"
    assert "Nothing was promoted by this run." in page
    assert "the disk is full\nsecond line</pre>" in page


def test_a_step_that_failed_and_then_succeeded_is_a_retry_and_no_failure(world: World) -> None:
    world.record("run-1", "ingest", status="failed", error="try again", exit_code=75)
    world.retrain("run-1", champion=0)
    summary, page = pack(world, "run-1")
    assert summary.status == "promoted"
    assert "attempt 2" in page


def test_a_step_that_never_finished_fails_the_run(world: World) -> None:
    world.ingest("run-1")
    world.record("run-1", "train", status="running", progress="epoch 3/10")
    summary, page = pack(world, "run-1")
    assert (summary.status, summary.exit_code) == ("failed", 1)
    assert "never finished" in summary.reason
    assert "did not finish" in page


def test_a_retraining_without_a_decision_is_failed(world: World) -> None:
    world.ingest("run-1")
    world.train("run-1")
    summary, _ = pack(world, "run-1")
    assert (summary.status, summary.exit_code) == ("failed", 1)
    assert "ended without a decision" in summary.reason


def test_two_decisions_contradict_each_other(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.outcome("run-1", "rejected")
    summary, page = pack(world, "run-1")
    assert (summary.status, summary.exit_code) == ("failed", 1)
    assert "promoted and rejected" in summary.reason
    assert "Nothing was promoted" not in page


def test_a_promotion_that_the_gate_refused_is_failed(world: World) -> None:
    world.ingest("run-1")
    world.gate("run-1", "trained", "fail")
    world.outcome("run-1", "promoted")
    summary, _ = pack(world, "run-1")
    assert summary.status == "failed"
    assert "gate-trained said fail" in summary.reason


@pytest.mark.parametrize("run_ids", [(), ("never-started",)])
def test_nothing_recorded_is_a_failure_with_a_page(world: World, run_ids: tuple[str, ...]) -> None:
    summary, page = pack(world, *run_ids)
    assert (summary.status, summary.exit_code) == ("failed", 1)
    assert "No run reached this step." in page
    assert "No model was ever promoted." in page


def test_missing_artifacts_are_named_in_their_sections(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.monitor("look")
    shutil.rmtree(world.store.cache)
    summary, page = pack(world, "run-1", "look")
    assert summary.status == "promoted"
    assert summary.sentence == "Promoted: generation 1 is the new champion. The numbers behind it are not available any more."
    assert "Results of these steps cannot be shown: compile, deploy, gate-compiled, gate-trained, ingest, monitor, train, tune" in page
    assert page.count("is not a finished artifact") >= 6


def test_an_altered_artifact_is_not_shown(world: World) -> None:
    world.retrain("run-1", champion=0)
    (verdict,) = (Path(world.store.cache) / "gate-compiled").glob("*/verdict.json")
    text = verdict.read_text()
    verdict.write_text(text.replace('"value":0.931', '"value":0.123').replace('"value": 0.931', '"value": 0.123'))
    assert verdict.read_text() != text
    _, page = pack(world, "run-1")
    assert "was altered after it was written" in page
    assert "12.3\u202f%</td>" not in page


def test_another_artifact_in_the_place_of_the_recorded_one_is_not_shown(world: World) -> None:
    folder = world.step("run-1", "compile", "compiled-model", {"benchmark.json": {"chosen": "a"}})
    other = world.step("run-2", "compile", "compiled-model", {"benchmark.json": {"chosen": "b"}})
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    summary, page = pack(world, "run-1")
    assert summary.chosen_backend == ""
    assert "its digest differs from the record" in page


def test_files_of_another_shape_leave_gaps_and_never_stop_the_page(world: World) -> None:
    strange = {"outcome": 3, "checks": [{"kind": "overall", "value": "high"}, 7], "flips": [], "interval": {}, "looks": "many"}
    world.ingest("run-1")
    world.step("run-1", "gate-trained", "verdict", {"verdict.json": strange, "predictions.parquet": b"no table"}, outcome="pass")
    world.step("run-1", "compile", "compiled-model", {"benchmark.json": {"variants": [{}], "machine": 5, "chosen": "gone"}})
    world.step("run-1", "train", "model", {"model.json": {}, "history.json": {"epochs": "ten"}})
    world.step("run-1", "tune", "tuned", {"trials.json": [1, 2], "best.json": []})
    world.step("run-1", "deploy", "deployment", {"deployment.json": b"{torn"}, outcome="promoted")
    world.step("run-1", "monitor", "drift", {"drift.json": {"signals": [{"histogram": {"edges": [1]}, "effect": float("nan")}]}})
    world.outcome("run-1", "promoted")
    summary, page = pack(world, "run-1")
    assert summary.status == "promoted"
    assert "not recorded" in page
    assert "deployment.json is not in the artifact of step deploy, or cannot be read" in page
    json.loads((world.root / "pack" / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_damaged_records_fail_the_run_and_are_named(world: World) -> None:
    world.retrain("run-1", champion=0)
    (Path(world.store.runs) / "run-1" / "steps" / "0-train.json").write_text("{torn")
    (Path(world.store.runs) / "run-1" / "outcome" / "rejected.json").write_text("")
    summary, page = pack(world, "run-1")
    assert summary.status == "failed"
    assert "steps/0-train.json cannot be read" in summary.reason
    assert "outcome/rejected.json cannot be read" in page


def test_a_damaged_ledger_is_told_and_never_guessed(world: World) -> None:
    world.retrain("run-1", champion=0)
    for path in Path(world.store.registry).rglob("*.json"):
        if path.name != MANIFEST and "ledger" in path.parts:
            path.write_text("{}")
    summary, page = pack(world, "run-1")
    assert summary.champion is None
    assert "the promotion ledger cannot be read" in page


def test_concluding_a_decided_run_writes_its_pack_into_its_folder(world: World) -> None:
    world.retrain("run-1", champion=0)
    summary = conclude(run_id="run-1", state="SUCCEEDED", error="", store=world.store)
    assert summary.status == "promoted"
    assert (Path(world.store.runs) / "run-1" / "report.html").is_file()
    assert (Path(world.store.runs) / "run-1" / "summary.json").is_file()


@pytest.mark.parametrize("state", ["Succeeded", "COMPLETE", "CACHED", "RUNNING"])
def test_every_scheduler_has_words_of_its_own_for_a_run_that_is_well(world: World, state: str) -> None:
    world.retrain("run-1", champion=0)
    assert conclude(run_id="run-1", state=state, error="", store=world.store).status == "promoted"


@pytest.mark.parametrize("state", ["FAILED", "Error", "CANCELED", ""])
def test_every_other_word_is_a_failure(world: World, state: str) -> None:
    world.retrain("run-1", champion=0)
    with pytest.raises(SightlineError, match="the run failed"):
        conclude(run_id="run-1", state=state, error="", store=world.store)


def test_concluding_a_look_at_drift_needs_no_decision_on_a_model(world: World) -> None:
    world.monitor("look")
    assert conclude(run_id="look", state="SUCCEEDED", error="", store=world.store).exit_code == 4


def test_concluding_without_a_decision_is_an_error_even_if_kubeflow_saw_none(world: World) -> None:
    world.ingest("run-1")
    world.gate("run-1", "trained", "pass")
    with pytest.raises(SightlineError, match="the run ended without a decision: neither promoted") as caught:
        conclude(run_id="run-1", state="SUCCEEDED", error="", store=world.store)
    assert caught.value.exit_code == 1
    assert (Path(world.store.runs) / "run-1" / "report.html").is_file()


def test_concluding_with_two_decisions_is_an_error(world: World) -> None:
    world.retrain("run-1", champion=0)
    world.outcome("run-1", "rolled-back")
    with pytest.raises(SightlineError, match="more than one decision"):
        conclude(run_id="run-1", state="SUCCEEDED", error="", store=world.store)


def test_a_failure_that_only_kubeflow_knows_of_is_not_lost(world: World) -> None:
    world.retrain("run-1", champion=0)
    with pytest.raises(SightlineError, match="FAILED: pod evicted"):
        conclude(run_id="run-1", state="FAILED", error="pod evicted", store=world.store)
    summary = Summary.model_validate_json((Path(world.store.runs) / "run-1" / "summary.json").read_bytes())
    assert (summary.status, summary.exit_code) == ("failed", 1)
