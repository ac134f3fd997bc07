"""The retrain chain as pods run it: each step a process of its own with an empty home, and nothing shared but S3."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.registry.ledger import Ledger
from sightline.store.objects import open_store
from sightline.store.outcomes import read_outcomes
from sightline.store.records import StepRecord, read_records
from tests.pipelines.small import small_config
from tests.s3 import BUCKET, running_s3

SIGHTLINE = Path(sys.executable).parent / "sightline"
PRICES = f"s3://{BUCKET}/prices.yaml"

TO_THE_SECOND_GATE: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("ingest",), {"gives": "dataset"}),
    (("train",), {"gives": "model", "takes": ("dataset",)}),
    (("gate", "--stage=trained"), {"gives": "trained", "takes": ("candidate=model", "dataset")}),
    (("compile",), {"gives": "compiled", "takes": ("model", "dataset")}),
    (("gate", "--stage=compiled"), {"gives": "verdict", "takes": ("candidate=compiled", "dataset")}),
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_s3() as url:
        yield url


@dataclass
class Chain:
    """Steps of one run, in the order in which a workflow would start them."""

    folder: Path
    config: RunConfig
    run_id: str
    artifacts: dict[str, str] = field(default_factory=dict)

    def step(self, name: str, *options: str, gives: str = "", takes: tuple[str, ...] = (), pool: str = "cpu") -> str:
        """The outcome of a step whose pod is gone afterwards."""
        pod = self.folder / f"{self.run_id}-{gives or name}"
        for place in ("tmp", "work"):
            (pod / place).mkdir(parents=True, exist_ok=True)
        keep = {key: value for key, value in os.environ.items() if key.startswith("AWS_") or key in {"PATH", "LANG"}}
        environment = {**keep, "HOME": str(pod), "TMPDIR": str(pod / "tmp"), "SIGHTLINE_RUN_ID": self.run_id, "SIGHTLINE_POOL": pool}
        inputs = [f"--input={each.partition('=')[0]}={self.artifacts[each.partition('=')[2] or each]}" for each in takes]
        text = yaml.safe_dump(self.config.model_dump(mode="json"))
        command = [str(SIGHTLINE), "step", name, *options, *inputs, "--config-text", text, "--outputs", str(pod / "told")]
        done = subprocess.run(command, env=environment, cwd=pod / "work", capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert list((pod / "tmp").glob("sightline-*")) == [], "a step leaves nothing of ours in its scratch"
        told = {path.name: path.read_text() for path in (pod / "told").iterdir()}
        assert set(told) == {"artifact", "outcome", "headline"}
        self.artifacts[gives or name] = told["artifact"]
        shutil.rmtree(pod)
        return told["outcome"]

    def records(self) -> list[StepRecord]:
        return read_records(f"{self.config.store.runs}/{self.run_id}/steps")


def test_a_chain_of_steps_that_share_nothing_but_s3_promotes_and_the_next_one_takes_what_is_there(endpoint, images, tmp_path):
    places = StoreConfig(**{name: f"s3://{BUCKET}/{name}" for name in ("cache", "runs", "registry", "jobs")})
    # No tracking server here, and a database in a pod would go with the pod: then the promotion says so and stands.
    store = places.model_copy(update={"tracking": "sqlite:///mlflow.db"})
    small = small_config(images)
    # How fast a busy machine answers is not the question here.
    patient = small.deploy.model_copy(update={"latency_slo_ms": 1_900.0, "request_timeout_s": 10.0})
    config = small.model_copy(update={"store": store, "deploy": patient})
    priced = config.model_copy(update={"cluster": config.cluster.model_copy(update={"prices": PRICES})})
    prices = {"currency": "USD", "pools": {"cpu": {"per_hour": 3.6}}}
    open_store(f"s3://{BUCKET}").write("prices.yaml", yaml.safe_dump(prices).encode())

    first = Chain(tmp_path, priced, "first")
    assert [first.step(*call, **hands) for call, hands in TO_THE_SECOND_GATE] == ["done", "done", "pass", "done", "pass"]
    assert first.step("deploy", takes=("model=compiled", "verdict", "dataset"), pool="gpu") == "promoted"
    assert first.step("report", "--state=Succeeded") == "promoted"
    assert [outcome.kind for outcome in read_outcomes(store, "first")] == ["promoted"]
    champion = Ledger(store.registry, cache=str(tmp_path / "models")).champion()
    assert champion is not None
    assert (champion.generation, champion.run_id) == (1, "first")

    pack = open_store(f"{store.runs}/first")
    summary = json.loads(pack.read("summary.json"))
    assert (summary["status"], summary["report"]) == ("promoted", f"{store.runs}/first/report.html")
    assert summary["gate"][1]["value"] > 0, "the verdict was read from the bucket"
    assert summary["cost"]["unpriced"] == ["deploy: pool gpu has no price"]
    assert summary["cost"]["money"] == pytest.approx(sum(record.seconds for record in first.records() if record.pool == "cpu") / 1000)
    assert pack.read("report.html").lower().startswith(b"<!doctype html>")

    # A registry of its own: with a champion the gates would have somebody new to compare with. All at once: the addresses are known.
    other = store.model_copy(update={"registry": f"s3://{BUCKET}/other"})
    second = Chain(tmp_path, config.model_copy(update={"store": other}), "second", dict(first.artifacts))
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda step: second.step(*step[0], **step[1]), TO_THE_SECOND_GATE))
    assert outcomes == ["done", "done", "pass", "done", "pass"]
    names = ("ingest", "train", "gate-trained", "compile", "gate-compiled")
    assert {record.name: record.cached for record in second.records()} == dict.fromkeys(names, True)
    assert second.artifacts == first.artifacts
