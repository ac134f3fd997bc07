"""Monitor to retrain: the compiled monitor pipeline, executed by the double, starts one run per decision, and only where it may."""

from pathlib import Path

import numpy as np
import pytest

from pipelines import client, retraining, runs
from sightline.config.monitor import MonitorConfig
from sightline.config.store import StoreConfig
from sightline.errors import DataError
from sightline.monitor.decide import Kind
from sightline.monitor.result import Drift
from sightline.registry.ledger import Ledger
from sightline.store.artifact import commit_artifact
from tests.e2e.places import places_below, tiny_config
from tests.unit.monitor.drift_streams import draw, served_lines, write_reference


@pytest.fixture
def store(tmp_path) -> StoreConfig:
    return places_below(str(tmp_path / "store"))


@pytest.fixture
def champion(store) -> str:
    bundle = write_reference(Path(store.cache) / "compiled" / "champion", draw(150, np.random.default_rng(1)))
    return Ledger(store.registry).promote(bundle, expected_generation=0, run_id="first", verdict_digest="v").digest


@pytest.fixture
def drifted_log(tmp_path, champion) -> str:
    folder = tmp_path / "served"
    folder.mkdir()
    lines = served_lines(draw(400, np.random.default_rng(2), shift=2.0), champion)
    (folder / "served-000.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def look(server, store, served, on_drift):
    config = tiny_config(store).model_copy(update={"monitor": MonitorConfig(num_permutations=100)})
    made = client.submit("monitor", config, server=server, changes={"served": served, "on_drift": on_drift}, service_account="")
    return runs.wait(server, made.run_id, timeout_s=200, every_s=0.2)


def retrain_runs(server):
    return [run for run in runs.list_runs(server) if run.name.startswith("retrain-")]


def test_drift_starts_one_retraining_where_that_is_switched_on_and_none_where_it_is_not(server, store, champion, drifted_log):
    reported = look(server, store, drifted_log, "report")
    assert (reported.state, runs.outcome(reported), runs.exit_code(reported)) == ("SUCCEEDED", "retrain", 4)
    assert retrain_runs(server) == []
    run = look(server, store, drifted_log, "retrain")
    assert (run.state, runs.outcome(run)) == ("SUCCEEDED", "retrain")
    (started,) = retrain_runs(server)
    assert started.name == f"retrain-{champion[:12]}-{run.name}"
    assert started.store.registry == store.registry
    runs.stop(server, started)


def decision_of(folder: Path, kind: Kind) -> str:
    drift = Drift(decision=kind, reason="because", num_reference=1, num_served=1, model="d" * 64, alpha=0.01, min_effect=0.1)

    def write(aside: Path) -> dict[str, object]:
        (aside / "drift.json").write_text(drift.model_dump_json())
        return {}

    commit_artifact(folder, "drift", write)
    return str(folder)


@pytest.fixture
def asked(store, tmp_path, monkeypatch, double):
    monkeypatch.setenv("SIGHTLINE_KFP_HOST", double.host)
    sections = tiny_config(store).model_dump(mode="json", exclude_none=True)
    del sections["store"], sections["monitor"]

    def ask(kind: Kind, run_id: str, by=client.retrain_for) -> str:
        drift = decision_of(tmp_path / kind, kind)
        return by(drift=drift, retrain=sections, store=store.model_dump(), run_id=run_id)

    return ask


def test_a_step_that_is_tried_again_finds_the_run_that_it_has_started(asked, server):
    assert [asked("retrain", "m1"), asked("retrain", "m1"), asked("retrain", "m2")] == ["submitted", "already-submitted", "submitted"]
    assert {run.name for run in retrain_runs(server)} == {"retrain-dddddddddddd-m1", "retrain-dddddddddddd-m2"}


def test_inside_a_component_where_kfp_has_no_client_a_process_of_its_own_starts_the_run(asked, server, monkeypatch):
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    assert asked("retrain", "m1", by=retraining.start) == "submitted"
    assert [run.name for run in retrain_runs(server)] == ["retrain-dddddddddddd-m1"]
    with pytest.raises(SystemExit) as ended:
        asked("label", "m2", by=retraining.start)
    assert ended.value.code == DataError.exit_code


@pytest.mark.parametrize("kind", ["wait", "ignore", "label"])
def test_another_decision_starts_nothing_even_when_the_branch_was_taken(asked, server, kind):
    with pytest.raises(DataError, match=f"the decision is to {kind}"):
        asked(kind, "m1")
    assert retrain_runs(server) == []
