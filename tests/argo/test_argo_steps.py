"""The templates with the real `sightline step`: processes that share nothing but S3, run by the interpreter."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.argo.arguments import config_text
from pipelines.argo.compiled import document
from pipelines.argo.flows import retrain_template
from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.data.synthetic import generate
from sightline.store.objects import open_store
from sightline.store.outcomes import read_outcomes
from tests.argo.interpreter import Interpreter
from tests.pipelines.small import small_config
from tests.s3 import BUCKET, running_s3

COMMANDS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "parts"
    generate(folder, lots=range(20), images_per_lot=12, seed=3)
    return folder


@pytest.fixture(scope="module")
def store(endpoint) -> StoreConfig:
    places = {name: f"s3://{BUCKET}/argo/{name}" for name in ("cache", "runs", "registry", "jobs")}
    # No tracking server here: a promotion without one says so and stands.
    return StoreConfig(**places, tracking="sqlite:///mlflow.db")


@pytest.fixture
def start(tmp_path):
    def run(template, config: RunConfig, name: str, **arguments: str) -> Interpreter:
        environment = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
        arguments["config"] = config_text(config)
        flow = Interpreter(document(template), name, tmp_path / "pods", COMMANDS, arguments, environment)
        flow.run()
        return flow

    return run


def said(flow: Interpreter) -> str:
    return "\n".join(attempt.output for node in flow.nodes.values() for attempt in node.attempts if attempt.exit_code)


@pytest.mark.timeout(900)
def test_a_run_promotes_with_nothing_shared_but_s3(start, images, store):
    flow = start(retrain_template(), small_config(images).model_copy(update={"store": store}), "first")
    assert (flow.phase, said(flow)) == ("Succeeded", "")
    assert flow.nodes["deploy"].outputs["outcome"] == "promoted"
    assert flow.nodes["onExit"].outputs["outcome"] == "promoted"
    assert [outcome.kind for outcome in read_outcomes(store, "first")] == ["promoted"]
    assert json.loads(open_store(f"{store.runs}/first").read("summary.json"))["status"] == "promoted"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_the_gate_refuses_is_a_run_that_succeeded_and_the_report_says_rejected(start, images, store):
    flow = start(retrain_template(), small_config(images, min_accuracy=0.999).model_copy(update={"store": store}), "second")
    assert (flow.phase, said(flow)) == ("Succeeded", "")
    assert flow.ran() == ["ingest", "tune", "train", "gate-trained", "reject-trained", "onExit"]
    assert flow.nodes["onExit"].outputs["outcome"] == "rejected"
    assert [outcome.kind for outcome in read_outcomes(store, "second")] == ["rejected"]


def test_a_step_that_fails_for_good_is_not_repeated_and_the_report_says_which(start, tmp_path, store):
    (tmp_path / "images" / "only-class").mkdir(parents=True)
    (tmp_path / "images" / "only-class" / "damaged.png").write_bytes(b"no picture")
    flow = start(retrain_template(), small_config(tmp_path / "images").model_copy(update={"store": store}), "third")
    assert (flow.phase, flow.ran()) == ("Failed", ["ingest", "onExit"])
    assert [attempt.exit_code for attempt in flow.nodes["ingest"].attempts] == [65]
    summary = json.loads(open_store(f"{store.runs}/third").read("summary.json"))
    assert (summary["status"], summary["exit_code"]) == ("failed", 65)
