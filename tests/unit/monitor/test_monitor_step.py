import re
from pathlib import Path

import numpy as np
import pytest
from drift_streams import draw, served_lines

from sightline.config.monitor import MonitorConfig
from sightline.config.store import StoreConfig
from sightline.errors import UsageError
from sightline.models.bundle import ModelBundle
from sightline.monitor.decide import retrainings
from sightline.monitor.result import Drift
from sightline.monitor.step import run
from sightline.registry.ledger import Ledger
from sightline.store.records import read_records
from sightline.store.steps import StepOutput


@pytest.fixture
def store(tmp_path: Path) -> StoreConfig:
    return StoreConfig(cache=str(tmp_path / "cache"), registry=str(tmp_path / "registry"), runs=str(tmp_path / "runs"))


@pytest.fixture
def champion(store: StoreConfig, bundle: ModelBundle) -> str:
    return Ledger(store.registry).promote(bundle, expected_generation=0, run_id="first", verdict_digest="v").digest


def look(tmp_path: Path, store: StoreConfig, lines: list[str], run_id: str = "monitor-1") -> tuple[StepOutput, Drift]:
    log = tmp_path / "served"
    log.mkdir(exist_ok=True)
    (log / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    config = MonitorConfig(min_images=100, num_permutations=100)
    output = run(served=str(log), config=config, store=store, run_id=run_id, output=str(tmp_path / "out" / run_id))
    return output, Drift.model_validate_json(output.artifact.file("drift.json").read_bytes())


def test_a_shifted_stream_asks_for_retraining_and_says_so_everywhere(tmp_path: Path, store: StoreConfig, champion: str) -> None:
    rng = np.random.default_rng(2)
    output, drift = look(tmp_path, store, served_lines(draw(220, rng, shift=1.5), champion) + served_lines(draw(9, rng), "old"))
    assert (output.result.outcome, drift.decision, drift.model) == ("retrain", "retrain", champion)
    assert re.fullmatch(
        r"RETRAIN · 4 of 8 signals drifted · brightness 0\.\d\d→0\.\d\d \(KS 0\.\d\d\) · 220 images", output.result.headline
    )
    assert (drift.num_reference, drift.num_served, drift.num_other_model) == (150, 220, 9)
    assert len(drift.label_first) == 50
    assert output.result.metrics["num_drifted"] == 4.0
    page = output.artifact.file("report.html").read_text()
    assert page.index("Retrain:") < page.index("<svg")
    assert "brightness" in output.artifact.file("summary.md").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert output.artifact.file("evidently.html").stat().st_size > 100_000
    assert [entry.run_id for entry in retrainings(store.registry)] == ["monitor-1"]
    assert read_records(Path(store.runs) / "monitor-1" / "steps")[0].outcome == "retrain"


def test_an_empty_log_means_wait_and_never_that_all_is_well(tmp_path: Path, store: StoreConfig, champion: str) -> None:
    output, drift = look(tmp_path, store, [])
    assert (output.result.outcome, drift.decision, drift.signals) == ("wait", "wait", ())
    assert output.result.headline == "WAIT · 0 images"
    assert "Wait:" in output.artifact.file("evidently.html").read_text()


def test_answers_of_other_models_are_no_evidence(tmp_path: Path, store: StoreConfig, champion: str) -> None:
    _, drift = look(tmp_path, store, served_lines(draw(300, np.random.default_rng(2), shift=2.0), "another model"))
    assert (drift.decision, drift.num_served, drift.num_other_model) == ("wait", 0, 300)


def test_an_undrifted_stream_is_ignored(tmp_path: Path, store: StoreConfig, champion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.monitor.step.write_evidently", lambda *args, **_: args[2].write_text("page"))
    output, drift = look(tmp_path, store, served_lines(draw(250, np.random.default_rng(3)), champion))
    assert drift.decision == "ignore", output.result.headline
    assert drift.label_first == ()
    assert retrainings(store.registry) == []


def test_without_a_champion_there_is_nothing_to_monitor(tmp_path: Path, store: StoreConfig) -> None:
    with pytest.raises(UsageError, match="no champion"):
        look(tmp_path, store, [])
