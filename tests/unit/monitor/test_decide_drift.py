import threading
from pathlib import Path

import pytest

from sightline.config.monitor import MonitorConfig
from sightline.errors import DataError
from sightline.monitor.decide import Decision, admit, decide, retrainings
from sightline.monitor.drift import Signal

RETRAIN = Decision(kind="retrain", reason="3 of 8 signals drifted: a, b, c")


def signals(num_drifted: int) -> tuple[Signal, ...]:
    return tuple(
        Signal(name=f"s{index}", test="ks", statistic=0.5, effect=0.5, p_value=0.1, p_adjusted=0.1, drifted=index < num_drifted, detail="")
        for index in range(8)
    )


def ask(root: Path, run_id: str, now: float, **changes: float) -> str:
    config = MonitorConfig.model_validate(changes)
    return admit(RETRAIN, str(root), run_id=run_id, model="m", config=config, clock=lambda: now).kind


@pytest.mark.parametrize(
    ("num_drifted", "num_served", "expected"),
    [(0, 200, "ignore"), (1, 200, "label"), (2, 200, "retrain"), (8, 200, "retrain"), (8, 199, "wait"), (0, 0, "wait")],
)
def test_the_decision_follows_the_number_of_drifted_signals(num_drifted: int, num_served: int, expected: str) -> None:
    config = MonitorConfig(min_images=200, retrain_drifted=2)
    assert decide(signals(num_drifted), num_served, config).kind == expected


def test_an_admitted_retraining_is_recorded_once_per_run(tmp_path: Path) -> None:
    assert ask(tmp_path, "run-1", 10.0) == "retrain"
    assert ask(tmp_path, "run-1", 11.0) == "retrain"
    assert [(entry.run_id, entry.time, entry.model) for entry in retrainings(str(tmp_path))] == [("run-1", 10.0, "m")]


def test_other_decisions_are_not_recorded(tmp_path: Path) -> None:
    label = Decision(kind="label", reason="r")
    assert admit(label, str(tmp_path), run_id="r", model="m", config=MonitorConfig()) == label
    assert retrainings(str(tmp_path)) == []


def test_during_the_cool_down_the_decision_is_label_with_the_reason(tmp_path: Path) -> None:
    ask(tmp_path, "run-1", 100.0)
    assert ask(tmp_path, "run-2", 159.0, cool_down_s=60) == "label"
    assert ask(tmp_path, "run-2", 160.0, cool_down_s=60) == "retrain"


def test_the_budget_is_that_of_the_window(tmp_path: Path) -> None:
    limits = {"max_retrains": 2, "budget_window_s": 100.0}
    answers = [ask(tmp_path, f"run-{now}", now, **limits) for now in (0.0, 10.0, 20.0, 99.0, 100.0, 105.0, 110.0)]
    assert answers == ["retrain", "retrain", "label", "label", "retrain", "label", "retrain"]


def test_the_kill_switch_stops_every_retraining(tmp_path: Path) -> None:
    config = MonitorConfig(max_retrains=0)
    answer = admit(RETRAIN, str(tmp_path), run_id="r", model="m", config=config)
    assert answer.kind == "label"
    assert "kill switch" in answer.reason
    assert retrainings(str(tmp_path)) == []


def test_monitors_that_ask_at_the_same_time_share_one_budget(tmp_path: Path) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda name=f"run-{index}": answers.append(ask(tmp_path, name, 5.0, max_retrains=3))) for index in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["label"] * 5 + ["retrain"] * 3
    assert len(retrainings(str(tmp_path))) == 3


def test_a_damaged_record_stops_the_decision(tmp_path: Path) -> None:
    ask(tmp_path, "run-1", 1.0)
    next((tmp_path / "retrains").iterdir()).write_text("{}")
    with pytest.raises(DataError, match="record of retrainings is damaged"):
        ask(tmp_path, "run-2", 2.0)
