import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from sightline.config.store import StoreConfig
from sightline.errors import DataError, EnvironmentFault
from sightline.store import steps
from sightline.store.artifact import open_artifact
from sightline.store.steps import Progress, Step, StepOutput, StepResult, read_records, run_step


@pytest.fixture
def store(tmp_path: Path) -> StoreConfig:
    return StoreConfig(cache=str(tmp_path / "cache"), registry=str(tmp_path / "registry"), runs=str(tmp_path / "runs"))


class Work:
    """Counts how often it was done."""

    def __init__(self, content: str = "content", error: BaseException | None = None) -> None:
        self.times = 0
        self.content = content
        self.error = error

    def __call__(self, folder: Path, progress: Progress) -> StepResult:
        self.times += 1
        progress("half way")
        (folder / "a.txt").write_text(self.content)
        (folder / "report.html").write_text("<p>page</p>")
        if self.error:
            raise self.error
        return StepResult(outcome="pass", headline="1 file", metrics={"size": 7.0})


def do(store: StoreConfig, work: Any, *, run_id: str = "run-1", **changes: Any) -> StepOutput:
    fields = {
        "name": "train",
        "kind": "model",
        "module": "sightline.store.digest",
        "inputs": {"data": "d"},
        "config": {"lr": 0.1},
        "seed": 7,
    }
    output = Path(store.runs) / "out" / run_id
    return run_step(Step(**{**fields, **changes}), store=store, run_id=run_id, output=output, work=work)


def records(store: StoreConfig, run_id: str = "run-1") -> list[steps.StepRecord]:
    return read_records(Path(store.runs) / run_id / "steps")


def test_a_step_leaves_its_artifact_its_result_and_its_record(store: StoreConfig) -> None:
    output = do(store, Work())
    assert output.result == StepResult(outcome="pass", headline="1 file", metrics={"size": 7.0})
    assert open_artifact(Path(store.runs) / "out" / "run-1", "model").digest == output.artifact.digest
    (record,) = records(store)
    assert (record.status, record.cached, record.outcome, record.headline) == ("done", False, "pass", "1 file")
    assert (record.digest, record.metrics) == (output.artifact.digest, {"size": 7.0})
    assert output.artifact.manifest.inputs == {"data": "d"}


def test_the_same_step_is_done_once_and_answers_the_same(store: StoreConfig) -> None:
    work = Work()
    first, second = do(store, work), do(store, work, run_id="run-2")
    assert work.times == 1
    assert (second.result, second.artifact.digest) == (first.result, first.artifact.digest)
    assert records(store, "run-2")[0].cached


@pytest.mark.parametrize(
    "change", [{"inputs": {"data": "e"}}, {"config": {"lr": 0.2}}, {"seed": 8}, {"kind": "other"}, {"module": "sightline.errors"}]
)
def test_any_change_of_what_it_depends_on_does_it_again(store: StoreConfig, change: dict[str, Any]) -> None:
    work = Work()
    do(store, work)
    do(store, work, run_id="run-2", **change)
    assert work.times == 2


def test_a_step_that_acts_on_the_world_is_done_every_time_even_twice_in_one_process(store: StoreConfig) -> None:
    work = Work()
    do(store, work, reusable=False)
    do(store, work, reusable=False)
    assert work.times == 2
    assert [record.cached for record in records(store)] == [False, False]


def test_a_cached_step_whose_files_were_damaged_is_an_error(store: StoreConfig) -> None:
    output = do(store, Work())
    cached = Path(records(store)[0].folder) / "a.txt"
    cached.unlink()
    cached.write_text("CONTENT")
    with pytest.raises(DataError, match=r"a\.txt"):
        do(store, Work(), run_id="run-2")
    assert output.artifact.file("a.txt").read_text() == "content"
    assert records(store, "run-2")[0].status == "failed"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(DataError("bad labels"), 65), (ValueError("a bug"), 1), (KeyboardInterrupt(), 1), (EnvironmentFault("no GPU"), 2)],
)
def test_a_failure_is_recorded_raised_and_never_cached(store: StoreConfig, error: BaseException, exit_code: int) -> None:
    with pytest.raises(type(error)):
        do(store, Work(error=error))
    (record,) = records(store)
    assert (record.status, record.exit_code) == ("failed", exit_code)
    assert record.error
    assert do(store, Work(), run_id="run-2").result.outcome == "pass"


def test_a_full_disk_for_records_does_not_hide_why_the_step_failed(store: StoreConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(folder: Path, progress: Progress) -> StepResult:
        monkeypatch.setattr(steps, "write_file", _full)
        raise DataError("the real reason")

    with pytest.raises(DataError, match="the real reason"):
        do(store, work)


def test_a_full_disk_for_records_does_not_stop_the_work(store: StoreConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps.write_file

    def work(folder: Path, progress: Progress) -> StepResult:
        monkeypatch.setattr(steps, "write_file", _full)
        progress("epoch 1")
        monkeypatch.setattr(steps, "write_file", real)
        (folder / "a.txt").write_text("x")
        return StepResult(headline="done")

    assert do(store, work).result.headline == "done"


def _full(*_: object) -> None:
    raise EnvironmentFault("cannot write") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_progress_may_be_reported_from_several_threads(store: StoreConfig) -> None:
    def work(folder: Path, progress: Progress) -> StepResult:
        failures = []

        def report(number: int) -> None:
            try:
                for index in range(20):
                    progress(f"{number} {index}")
            except Exception as error:  # noqa: BLE001 - shown below
                failures.append(error)

        threads = [threading.Thread(target=report, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        (folder / "a.txt").write_text("x")
        return StepResult(headline="done")

    assert do(store, work).result.headline == "done"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        StepResult(headline="x", metrics={"loss": value})


def test_a_run_without_steps_has_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nowhere") == []


def test_publish_hands_over_scalars_and_the_pages_that_were_asked_for(store: StoreConfig, tmp_path: Path) -> None:
    metrics: dict[str, Any] = {}
    assert do(store, Work()).publish(metrics=metrics, html=str(tmp_path / "kfp" / "page")) == "pass"
    assert metrics == {"size": 7.0}
    assert (tmp_path / "kfp" / "page").read_text() == "<p>page</p>"
