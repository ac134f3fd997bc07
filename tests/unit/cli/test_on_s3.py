"""What a person asks on a laptop about runs and champions that are on S3."""

import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli.app import app
from sightline.config.store import StoreConfig
from sightline.errors import SightlineError
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger
from sightline.report.conclude import conclude
from sightline.store.artifact import commit_artifact
from sightline.store.objects import open_store
from sightline.store.outcomes import Outcome, record_outcome
from sightline.store.steps import Step, StepResult, run_step
from tests.s3 import s3_bucket


@pytest.fixture(scope="module")
def bucket():
    with s3_bucket() as address:
        yield address


@pytest.fixture
def store(bucket, tmp_path, monkeypatch) -> StoreConfig:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    prefix = f"{bucket}/{uuid.uuid4().hex}"
    return StoreConfig(cache=f"{prefix}/cache", runs=f"{prefix}/runs", registry=f"{prefix}/registry")


def promote(store: StoreConfig, folder: Path, number: int) -> None:
    def write(aside: Path) -> dict[str, object]:
        names = {"classes": ["a", "b"], "backbone": "compact", "width": 16, "embedding_dim": 64, "dataset_digests": {}}
        (aside / "model.json").write_text(json.dumps(names | {"chosen": "", "parent": "", "variants": {}}))
        (aside / "preprocessing.json").write_text('{"size_px": 32}')
        (aside / "weights.safetensors").write_bytes(bytes([number]) * 100)
        return {}

    commit_artifact(folder / str(number), "compiled-model", write)
    bundle = ModelBundle.open(folder / str(number))
    Ledger(store.registry).promote(bundle, expected_generation=number - 1, run_id=f"run-{number}", verdict_digest="a" * 64)


def do(store: StoreConfig, folder: Path, name: str, kind: str, files: dict[str, str], outcome: str = "done") -> None:
    def work(aside: Path, progress: object) -> StepResult:
        for file, text in files.items():
            (aside / file).write_text(text)
        return StepResult(outcome=outcome, headline=f"{name} is done")

    run_step(Step(name, kind, "sightline.store.digest", {}, {"name": name}), store=store, run_id="run-1", output=folder / name, work=work)


def answer(*arguments: str) -> object:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_champions_are_told_rolled_back_and_audited_in_a_bucket(store, tmp_path):
    for number in (1, 2):
        promote(store, tmp_path, number)
    assert [champion["run_id"] for champion in answer("champions", "--registry", store.registry)] == ["run-1", "run-2"]
    assert answer("audit", "1", "--who", "Ada", "--why", "checked by hand", "--registry", store.registry)["generation"] == 1
    answer("rollback", "--registry", store.registry)
    assert [champion["run_id"] for champion in answer("champions", "--registry", store.registry)] == ["run-1", "run-2", "run-1"]


def test_the_pack_of_a_run_goes_beside_its_records_and_reads_the_artifacts_in_the_bucket(store, tmp_path):
    benchmark = {"variants": [], "chosen": "openvino-int8", "machine": {"cpu": "x", "cores": 1, "threads": 1, "versions": {}}}
    do(store, tmp_path, "compile", "compiled-model", {"benchmark.json": json.dumps(benchmark)})
    record_outcome(store, "run-1", Outcome(kind="rejected", reason="steel lost 4 points"))
    summary = conclude(run_id="run-1", state="Succeeded", error="", store=store, page=str(tmp_path / "page.html"))
    assert (summary.status, summary.chosen_backend, summary.report) == (
        "rejected",
        "openvino-int8",
        f"{store.runs}/run-1/report.html",
    )
    kept = open_store(f"{store.runs}/run-1")
    assert kept.read("report.html") == (tmp_path / "page.html").read_bytes()
    assert json.loads(kept.read("summary.json"))["status"] == "rejected"


def test_an_artifact_that_was_altered_in_the_bucket_is_said_so_on_the_page_and_the_pack_is_written_all_the_same(store, tmp_path):
    do(store, tmp_path, "compile", "compiled-model", {"benchmark.json": "{}"})
    cache = open_store(store.cache)
    (key,) = [key for key in cache.list() if key.endswith("benchmark.json")]
    cache.write(key, b"[]")
    with pytest.raises(SightlineError, match=f"see {store.runs}/run-1/report.html"):
        conclude(run_id="run-1", state="Failed", error="pod was evicted", store=store)
    page = open_store(f"{store.runs}/run-1").read("report.html").decode()
    assert "benchmark.json: object" in page
    assert "not available" in page


def test_the_pages_content_type_lets_a_browser_show_it(store):
    import boto3

    open_store(f"{store.runs}/run-1").write("report.html", b"<!doctype html>")
    name, _, prefix = store.runs.removeprefix("s3://").partition("/")
    assert boto3.client("s3").head_object(Bucket=name, Key=f"{prefix}/run-1/report.html")["ContentType"] == "text/html"


def test_the_cost_of_a_run_is_told_step_by_step(store, tmp_path, monkeypatch):
    (tmp_path / "prices.yaml").write_text("currency: USD\npools: {cpu: {per_hour: 3600}}\n")
    monkeypatch.setenv("SIGHTLINE_POOL", "cpu")
    do(store, tmp_path, "compile", "compiled-model", {"a": "1"})
    monkeypatch.delenv("SIGHTLINE_POOL")
    do(store, tmp_path, "deploy", "deployment", {"a": "1"})
    arguments = ["cost", "run-1", "--prices", str(tmp_path / "prices.yaml"), "--runs", store.runs]
    cost = answer(*arguments)
    assert cost["money"] == pytest.approx(cost["steps"][0]["seconds"])
    text = CliRunner().invoke(app, arguments).stdout
    assert "not counted · deploy: it is not known where it ran" in text
    assert text.splitlines()[0].split() == ["step", "pool", "seconds", "GPU", "min", "USD"]
    with pytest.raises(SightlineError, match="run nobody has no records"):
        CliRunner().invoke(app, ["cost", "nobody", *arguments[2:]], catch_exceptions=False)
