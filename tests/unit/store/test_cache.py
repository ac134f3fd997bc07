"""The cache on S3: machines that share nothing else find each other's finished steps, and nothing that is damaged or half there."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from sightline.config.store import StoreConfig
from sightline.errors import DataError, TemporaryError
from sightline.store.artifact import MANIFEST, open_artifact
from sightline.store.cache import fetch_artifact
from sightline.store.objects import S3Store, open_store
from sightline.store.outcomes import Outcome, read_outcomes, record_outcome
from sightline.store.records import read_records
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_step
from tests.s3 import BUCKET

Work = Callable[[Path, Progress], StepResult]
STEP = Step("train", "model", "sightline.store.digest", inputs={"data": "d"}, config={"lr": 0.1})


class Machine:
    """A place with a scratch folder of its own, as a pod has."""

    def __init__(self, folder: Path, store: StoreConfig) -> None:
        self.scratch = folder / "tmp"
        self.output = folder / "output"
        self.store = store
        self.times = 0
        self.scratch.mkdir(parents=True)

    def run(self, *, content: str = "weights", run_id: str = "run-1", work: Work | None = None) -> StepOutput:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(self.scratch))
            return run_step(STEP, store=self.store, run_id=run_id, output=self.output, work=work or self._working(content))

    def _working(self, content: str) -> Work:
        def work(folder: Path, progress: Progress) -> StepResult:
            self.times += 1
            progress("epoch 1")
            (folder / "pages").mkdir()
            (folder / "pages" / "report.html").write_text("<p>page</p>")
            (folder / "weights").write_text(content)
            return StepResult(headline="trained", metrics={"loss": 0.5})

        return work


@pytest.fixture
def store(endpoint: str) -> StoreConfig:
    prefix = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    return StoreConfig(cache=f"{prefix}/cache", runs=f"{prefix}/runs", registry=f"{prefix}/registry")


@pytest.fixture
def machines(tmp_path: Path, store: StoreConfig) -> Iterator[tuple[Machine, Machine]]:
    both = Machine(tmp_path / "one", store), Machine(tmp_path / "two", store)
    yield both
    assert [list(machine.scratch.iterdir()) for machine in both] == [[], []], "scratch folders stay empty"


def objects(store: StoreConfig) -> list[str]:
    return open_store(store.cache).list()


def put(store: StoreConfig, key: str, data: bytes) -> None:
    """Replaces an object's bytes but not what it says about itself, as damage in the store would."""
    bucket, _, prefix = store.cache.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    told = client.head_object(Bucket=bucket, Key=f"{prefix}/{key}")["Metadata"]
    client.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=data, Metadata=told)


def test_what_one_machine_made_another_one_takes(machines: tuple[Machine, Machine], store: StoreConfig) -> None:
    one, two = machines
    made, taken = one.run(), two.run(run_id="run-2")
    assert (one.times, two.times) == (1, 0)
    assert (taken.result, taken.artifact.digest, taken.uri) == (made.result, made.artifact.digest, made.uri)
    assert taken.artifact.folder == two.output
    assert (two.output / "weights").read_text() == "weights"
    assert made.uri.startswith(f"{store.cache}/train/")
    (first,), (second,) = read_records(f"{store.runs}/run-1/steps"), read_records(f"{store.runs}/run-2/steps")
    assert (first.cached, second.cached, first.folder) == (False, True, made.uri)


def test_the_key_is_the_same_in_a_folder_and_on_s3(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    local = StoreConfig(cache=str(tmp_path / "cache"), runs=str(tmp_path / "runs"))
    here = run_step(STEP, store=local, run_id="run-1", output=tmp_path / "out", work=machines[0]._working("weights"))
    there = machines[0].run()
    assert here.uri.removeprefix(local.cache) == there.uri.removeprefix(machines[0].store.cache)
    assert here.artifact.digest == there.artifact.digest


def test_a_committed_artifact_is_fetched_by_its_address_once(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    made = machines[0].run()
    folder = fetch_artifact(made.uri, tmp_path / "scratch")
    assert open_artifact(folder, "model").digest == made.artifact.digest
    before = (folder / "weights").stat().st_ino
    assert fetch_artifact(f"{made.uri}/", tmp_path / "scratch") == folder
    assert (folder / "weights").stat().st_ino == before
    assert fetch_artifact(str(folder), tmp_path / "scratch") == folder
    with pytest.raises(DataError, match="not a finished artifact"):
        fetch_artifact(f"{made.uri}0", tmp_path / "scratch")


@pytest.mark.parametrize("name", ["weights", MANIFEST])
def test_a_flipped_bit_in_the_store_is_detected(machines: tuple[Machine, Machine], store: StoreConfig, name: str) -> None:
    machines[0].run()
    key = next(key for key in objects(store) if key.endswith(f"/{name}"))
    data = bytearray(open_store(store.cache).read(key))
    data[len(data) // 2] ^= 1
    put(store, key, bytes(data))
    with pytest.raises(DataError, match=f"{name}.*does not match its SHA-256|altered"):
        machines[1].run(run_id="run-2")
    assert machines[1].times == 0
    assert not (machines[1].output / MANIFEST).exists()


def test_a_manifest_that_was_replaced_as_a_whole_is_detected(machines: tuple[Machine, Machine], store: StoreConfig) -> None:
    machines[0].run()
    key = next(key for key in objects(store) if key.endswith(MANIFEST))
    data = open_store(store.cache).read(key)
    open_store(store.cache).write(key, data.replace(b'"loss": 0.5', b'"loss": 0.1'))
    with pytest.raises(DataError, match="do not match its seal"):
        machines[1].run(run_id="run-2")


def test_a_lost_object_is_named_by_whoever_needs_it_and_made_again_by_its_step(
    machines: tuple[Machine, Machine], store: StoreConfig, tmp_path: Path
) -> None:
    made = machines[0].run()
    open_store(store.cache).delete(next(key for key in objects(store) if key.endswith("/weights")))
    with pytest.raises(DataError, match="weights: there is no object"):
        fetch_artifact(made.uri, tmp_path / "scratch")
    again = machines[1].run(run_id="run-2", content="other weights")  # a bucket's lifecycle removes files one by one
    assert (machines[1].times, again.uri) == (1, made.uri)
    assert (machines[0].run(run_id="run-3").artifact.digest, machines[0].times) == (again.artifact.digest, 1)


def test_of_two_machines_that_make_the_same_step_differently_the_first_one_counts_for_both(
    machines: tuple[Machine, Machine], store: StoreConfig
) -> None:
    one, two = machines
    outputs: list[StepOutput] = []

    def slow(folder: Path, progress: Progress) -> StepResult:
        outputs.append(one.run(content="from one"))  # the other machine starts and ends while this one works
        (folder / "weights").write_text("from two")
        return StepResult(headline="trained")

    outputs.append(two.run(run_id="run-2", work=slow))
    assert outputs[0].artifact.digest == outputs[1].artifact.digest
    assert [(machine.output / "weights").read_text() for machine in machines] == ["from one", "from one"]
    assert outputs[1].result.metrics == {"loss": 0.5}


def test_machines_that_end_in_the_same_moment_agree_and_harm_nobody(
    machines: tuple[Machine, Machine], store: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have uploaded all files of theirs before either writes a manifest."""
    barrier, write = threading.Barrier(2, timeout=30), S3Store.write

    def together(self: S3Store, key: str, data: bytes, **conditions: object) -> str:
        if key.endswith(MANIFEST):
            barrier.wait()
        return write(self, key, data, **conditions)  # type: ignore[arg-type]

    monkeypatch.setattr(S3Store, "write", together)
    monkeypatch.setattr("tempfile.tempdir", str(machines[0].scratch))
    digests: dict[int, str] = {}

    def run(number: int) -> None:
        work, output = machines[number]._working(f"from {number}"), machines[number].output
        digests[number] = run_step(STEP, store=store, run_id=f"run-{number}", output=output, work=work).artifact.digest

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests[0] == digests[1]
    assert [machine.times for machine in machines] == [1, 1]
    assert open_artifact(machines[0].output, "model").digest == open_artifact(machines[1].output, "model").digest


def test_a_store_that_fails_before_the_manifest_leaves_no_artifact(
    machines: tuple[Machine, Machine], store: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = S3Store.write

    def failing(self: S3Store, key: str, data: bytes, **conditions: object) -> str:
        if key.endswith(MANIFEST):
            raise TemporaryError("the network is gone")
        return write(self, key, data, **conditions)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "write", failing)
        with pytest.raises(TemporaryError):
            machines[0].run()
    assert any(key.endswith("/weights") for key in objects(store)), "the files are there, and count for nothing"
    assert not any(key.endswith(MANIFEST) for key in objects(store))
    assert machines[1].run(content="other").artifact.file("weights").read_text() == "other"
    assert (machines[0].times, machines[1].times) == (1, 1)


def test_a_machine_that_is_killed_before_the_manifest_leaves_no_artifact(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    store = machines[0].store
    code = f"""
import time
from pathlib import Path
from sightline.config.store import StoreConfig
from sightline.store.objects import S3Store
from sightline.store.steps import StepResult, run_step
from tests.unit.store.test_cache import STEP
S3Store.write = lambda self, key, data, **_: print("ready", flush=True) or time.sleep(60) if "manifest" in key else ""
def work(folder, progress):
    (folder / "weights").write_text("of the dead")
    return StepResult(headline="trained")
store = StoreConfig.model_validate_json({store.model_dump_json()!r})
run_step(STEP, store=store, run_id="r", output=Path({str(tmp_path / "dead")!r}), work=work)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        process.send_signal(signal.SIGKILL)
    assert any(key.endswith("/weights") for key in objects(store))
    assert machines[1].run().artifact.file("weights").read_text() == "weights"
    assert machines[1].times == 1


def test_a_failure_is_recorded_on_s3_and_not_repeated_by_another_machine(machines: tuple[Machine, Machine], store: StoreConfig) -> None:
    def bad(folder: Path, progress: Progress) -> StepResult:
        raise DataError("3 labels are wrong")

    with pytest.raises(DataError, match="3 labels are wrong"):
        machines[0].run(work=bad)
    with pytest.raises(DataError, match="recorded failure of train"):
        machines[1].run()
    assert machines[1].times == 0
    assert len(read_records(f"{store.runs}/run-1/steps")) == 1


def test_progress_is_not_a_request_a_line(machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    requests, write = [], S3Store.write

    def counting(self: S3Store, key: str, data: bytes, **conditions: object) -> str:
        requests.append(key)
        return write(self, key, data, **conditions)  # type: ignore[arg-type]

    def work(folder: Path, progress: Progress) -> StepResult:
        started = time.monotonic()
        for number in range(1000):
            progress(f"image {number}")
        assert time.monotonic() - started < 1.0
        (folder / "weights").write_text("x")
        return StepResult(headline="trained")

    monkeypatch.setattr(S3Store, "write", counting)
    machines[0].run(work=work)
    assert len([key for key in requests if "/steps/" in key]) <= 3


def test_outcomes_are_kept_on_s3(store: StoreConfig) -> None:
    assert read_outcomes(store, "run-1") == []
    record_outcome(store, "run-1", Outcome(kind="promoted", reason="better"))
    record_outcome(store, "run-1", Outcome(kind="promoted", reason="better"))
    assert [outcome.kind for outcome in read_outcomes(store, "run-1")] == ["promoted"]
