import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from sightline.config.store import StoreConfig
from sightline.errors import DataError, EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.store.artifact import open_artifact
from sightline.store.objects import LocalStore
from sightline.store.records import StepRecord, read_records
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step


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


def records(store: StoreConfig, run_id: str = "run-1") -> list[StepRecord]:
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
        monkeypatch.setattr(LocalStore, "write", _full)
        raise DataError("the real reason")

    with pytest.raises(DataError, match="the real reason"):
        do(store, work)


def test_a_full_disk_for_records_does_not_stop_the_work(store: StoreConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(folder: Path, progress: Progress) -> StepResult:
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "write", _full)
            progress("epoch 1")
        (folder / "a.txt").write_text("x")
        return StepResult(headline="done")

    assert do(store, work).result.headline == "done"


def _full(*_: object, **__: object) -> None:
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


@pytest.mark.parametrize(("error", "exit_code"), [(DataError("3 labels are wrong"), 65), (UsageError("there is no class"), 2)])
def test_what_would_fail_again_is_not_tried_again_in_the_same_run(store: StoreConfig, error: SightlineError, exit_code: int) -> None:
    with pytest.raises(type(error)):
        do(store, Work(error=error))
    work = Work()
    with pytest.raises(type(error), match=f"recorded failure of train, not tried again in run run-1: {error}") as told:
        do(store, work)
    assert (work.times, told.value.exit_code) == (0, exit_code)
    assert [record.permanent for record in records(store)] == [True]


@pytest.mark.parametrize(
    "error", [EnvironmentFault("no GPU"), TemporaryError("no answer"), SystemExit(143), KeyboardInterrupt(), ValueError("a bug")]
)
def test_what_may_go_well_the_next_time_is_tried_again(store: StoreConfig, error: BaseException) -> None:
    with pytest.raises(type(error)):
        do(store, Work(error=error))
    assert do(store, Work()).result.outcome == "pass"
    assert [(record.status, record.permanent) for record in records(store)] == [("failed", False), ("done", False)]


def test_a_step_that_was_stopped_says_with_which_exit_code(store: StoreConfig) -> None:
    with pytest.raises(SystemExit):
        do(store, Work(error=SystemExit(143)))
    assert (records(store)[0].exit_code, records(store)[0].error) == (143, "stopped with exit code 143")


def test_a_permanent_failure_is_tried_again_in_another_run_and_when_the_question_is_another(store: StoreConfig) -> None:
    with pytest.raises(DataError):
        do(store, Work(error=DataError("bad labels")))
    assert do(store, Work(), inputs={"data": "repaired"}).result.outcome == "pass"
    assert do(store, Work(), run_id="run-2").result.outcome == "pass"


def test_damage_that_is_found_in_the_cache_forbids_no_other_attempt(store: StoreConfig) -> None:
    do(store, Work())
    kept = Path(records(store)[0].folder)
    (kept / "a.txt").unlink()
    with pytest.raises(DataError, match="altered"):
        do(store, Work())
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    assert do(store, Work()).result.outcome == "pass"


def test_the_record_says_where_the_step_ran(store: StoreConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    do(store, Work())
    monkeypatch.setenv("SIGHTLINE_POOL", "gpu")
    monkeypatch.setenv("SIGHTLINE_NUM_GPUS", "2")
    do(store, Work(), run_id="run-2")
    (here,), (there,) = records(store), records(store, "run-2")
    assert [(record.pool, record.num_gpus) for record in (here, there)] == [("", 0), ("gpu", 2)]
    assert here.key == there.key
    monkeypatch.setenv("SIGHTLINE_NUM_GPUS", "two")
    with pytest.raises(UsageError, match="SIGHTLINE_NUM_GPUS is 'two'"):
        do(store, Work(), run_id="run-3")


def test_a_run_is_named_by_its_caller_or_else_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGHTLINE_RUN_ID", raising=False)
    with pytest.raises(UsageError, match="SIGHTLINE_RUN_ID"):
        run_name("")
    monkeypatch.setenv("SIGHTLINE_RUN_ID", "from-kubeflow")
    assert (run_name(""), run_name("mine")) == ("from-kubeflow", "mine")
