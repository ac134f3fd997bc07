"""A small site after a bad week: what the runbooks' commands meet."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import client, schedules
from sightline.config.ingest import IngestConfig
from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.data.push import push
from sightline.evaluate.verdict import write_verdict
from sightline.ingest import step as ingest
from sightline.registry.ledger import Ledger
from sightline.store.objects import open_store
from sightline.store.outcomes import Outcome, record_outcome
from sightline.store.records import Recorder
from sightline.store.steps import Step, StepResult, run_step
from tests.docs.pages import ROOT
from tests.docs.waiting_kubeflow import WaitingKubeflow
from tests.e2e.places import places_below
from tests.fake_kubernetes import FakeKubernetes
from tests.kubernetes_kinds import HTTP_ROUTES, NODES, OPERATED, PODS, WORKLOADS, kind_of
from tests.s3 import s3_bucket
from tests.unit.deploy.fake_kserve import NAMESPACE, FakeKServe, wait_for
from tests.unit.gate.rich_verdict import rich_verdict
from tests.unit.serve.tiny_bundle import CLASSES, picture, write_bundle

MODEL_LOADED = "the model is loaded"
BLOCKING = "material=brass"
_IMAGES = "generated://surfaces;lots=30;images=3;seed=5"
_INGEST = IngestConfig(source=_IMAGES, group_by=("lot",), slices=("material", "camera"), min_images_per_class=5)


@dataclass
class World:
    """The site.

    Attributes:
        folder: where commands run; it has sightline.yaml, new-images/ and schedules/.
        bucket: its name.
        store: the places in the bucket.
        kubeflow: its API.
        cluster: its Kubernetes API, with a KServe that serves the champion.
        lists: what the list of runs printed, by command: it costs seconds, several pages begin with it, and it changes nothing.
        names: the variables of the pages, by page where the page has runs of its own; "" is for all.
    """

    folder: Path
    bucket: str
    store: StoreConfig
    kubeflow: WaitingKubeflow
    cluster: FakeKubernetes
    lists: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, command: str, names: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs a command in a shell of its own, which knows these variables and stops at unknown ones; the list of runs only once."""
        if not command.startswith("sightline runs list"):
            return self._shell(command, names)
        if command not in self.lists:
            self.lists[command] = self._shell(command, names)
        return self.lists[command]

    def _shell(self, command: str, names: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"PATH": path, "SIGHTLINE_KFP_HOST": self.kubeflow.host, "KUBECONFIG": str(self.cluster.kubeconfig), "USER": "ada"}
        return subprocess.run(
            ["bash", "-u", "-c", command],
            cwd=self.folder,
            env={**os.environ, **own, **names},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def names_for(self, page: str) -> dict[str, str]:
        """The variables of a page; the pod is one that serves now."""
        (pod, *_) = [pod["metadata"]["name"] for pod in self.cluster.objects(PODS) if pod["metadata"]["namespace"] == NAMESPACE]
        self.cluster.write_log(pod, MODEL_LOADED, container="kserve-container", namespace=NAMESPACE)
        return {"BUCKET": self.bucket, "POD": pod, **self.names[""], **self.names.get(page, {})}

    def edit_schedule(self, name: str, old: str, new: str) -> None:
        """What a person does to a schedule after it was applied."""
        path = self.folder / "schedules" / f"{name}.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text)
        server = client.connect(self.kubeflow.host)
        schedules.apply(server, schedules.plan(schedules.read_schedules(path.parent), schedules.read_existing(server)), prune=False)
        path.write_text(text.replace(old, new))

    def damage_a_finished_step(self) -> None:
        """Changes one object of the cache."""
        cache = open_store(self.store.cache)
        (place,) = [key for key in cache.list("gate-compiled/") if key.endswith("/verdict.json")]
        cache.write(place, cache.read(place).replace(b"1342", b"1343"))


@contextmanager
def small_site(folder: Path) -> Iterator[World]:
    """The site, up to the moment when somebody is called."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("HOME", str(folder / "home"))  # kubectl and the registry keep copies there
        patch.setattr(logging.getLogger("werkzeug"), "disabled", True)  # a line per request to S3 hides what a command said
        address = stack.enter_context(s3_bucket())
        for name in ("server", "pods", "home"):
            (folder / name).mkdir()
        kubeflow = stack.enter_context(WaitingKubeflow(folder / "server"))
        objects = list(_manifests())
        spaces = {thing["metadata"]["name"] for thing in objects if thing["kind"] == "Namespace"}
        cluster = stack.enter_context(FakeKubernetes(folder, kinds=OPERATED, namespaces=spaces, anonymous=True))
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        _fill_cluster(cluster, objects)
        stack.enter_context(FakeKServe(cluster, folder / "pods"))
        world = World(folder, address.removeprefix("s3://"), places_below(address), kubeflow, cluster)
        _write_checkout(world)
        _promote_and_serve(world)
        _run_pipelines(world)
        yield world


def _manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / "manifests").rglob("*.yaml")):
        if {"base", "components"} & set(path.relative_to(ROOT / "manifests").parts):
            yield from (thing for thing in yaml.safe_load_all(path.read_text()) if thing and "metadata" in thing)


def _fill_cluster(cluster: FakeKubernetes, objects: list[dict[str, Any]]) -> None:
    """What the manifests have of the kinds that the pages look at, and what controllers would have made."""
    for thing in objects:
        if (kind := kind_of(thing)) is not None:
            cluster.put(kind, thing, namespace=thing["metadata"].get("namespace", ""))
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-with-gpu", "labels": {"sightline.dev/pool": "gpu"}}}
    cluster.put(NODES, node)
    cluster.put(WORKLOADS, {"apiVersion": WORKLOADS.api_version, "kind": "Workload", "metadata": {"name": "waits"}}, namespace="sightline")
    route = {"apiVersion": HTTP_ROUTES.api_version, "kind": "HTTPRoute", "metadata": {"name": "sightline"}}
    cluster.put(HTTP_ROUTES, route, namespace=NAMESPACE)


def _write_checkout(world: World) -> None:
    images = f"s3://{world.bucket}/data/parts"
    config = {"store": world.store.model_dump(), "ingest": {"source": images}, "cluster": {"gpus_per_node": 1}}
    (world.folder / "sightline.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(ROOT / "schedules", world.folder / "schedules")
    for place, numbers in (("old-images", range(12)), ("new-images", range(12, 18))):
        for number in numbers:
            (world.folder / place / CLASSES[number % 3]).mkdir(parents=True, exist_ok=True)
            (world.folder / place / CLASSES[number % 3] / f"{number}.jpg").write_bytes(picture(number))
    push(world.folder / "old-images", images, lambda _: None)


def _promote_and_serve(world: World) -> None:
    from sightline.config.deploy import DeployConfig
    from sightline.deploy.rollback import serve_champion

    ledger = Ledger(world.store.registry)
    for generation in range(3):
        bundle = write_bundle(world.folder / "bundles" / str(generation), scale=20.0 + generation)
        ledger.promote(bundle, expected_generation=generation, run_id=f"retrain-{generation + 1}", verdict_digest="d" * 64)
    serve_champion(world.store.registry, DeployConfig(target="kserve"), namespace=NAMESPACE)
    wait_for(lambda: any(pod["metadata"]["namespace"] == NAMESPACE for pod in world.cluster.objects(PODS)))


def _run_pipelines(world: World) -> None:
    """One run per page that needs one, with the records that its steps would have left."""
    dataset = world.folder / "dataset"
    ingest.run(config=_INGEST, store=world.store, run_id="retrain-refused", output=str(dataset))
    verdict = _judge(world, "gate-trained", "retrain-refused")
    _judge(world, "gate-compiled", "retrain-damaged")
    refused = _submitted(world, "retrain", "refused", "SUCCEEDED", outcome=Outcome(kind="rejected", reason="brass is worse"))
    canary = _submitted(world, "retrain", "canary", "FAILED", outcome=Outcome(kind="rolled-back", reason="errors"))
    _recorded(world, canary, "deploy", outcome="rolled-back", headline="rolled back: errors, 41 of 400 requests")
    watched = _submitted(world, "monitor", "watched", "SUCCEEDED")
    _recorded(world, watched, "monitor", outcome="label", headline="brightness drifted")
    damaged = _submitted(world, "retrain", "damaged", "FAILED")
    Recorder(world.store.runs, damaged, name="compile", key="").failed(ValueError("model.onnx is not what its digest says"), permanent=True)
    waiting = _submitted(world, "retrain", "waiting", "FAILED")
    other = _submitted(world, "retrain", "other", "RUNNING")
    world.names = {
        "": {"VERDICT": verdict, "DATASET": str(dataset), "CHECK": BLOCKING, "MONITOR_RUN": watched, "OTHER_RUN": other, "RUN": refused},
        "canary-rolled-back": {"RUN": canary},
        "gpu-pool-empty": {"RUN": waiting},
        "store-corrupt": {"RUN": damaged},
    }


def _judge(world: World, name: str, run_id: str) -> str:
    def write(folder: Path, _: object) -> StepResult:
        write_verdict(folder, rich_verdict(stage=name.removeprefix("gate-")))
        return StepResult(outcome="reject", headline="brass is worse")

    step = Step(name, "verdict", "sightline.gate.step", {"model": name}, {})
    return run_step(step, store=world.store, run_id=run_id, output=world.folder / name, work=write).uri


def _submitted(world: World, pipeline: str, key: str, state: str, *, outcome: Outcome | None = None) -> str:
    config = RunConfig(store=world.store, ingest=IngestConfig(source=f"s3://{world.bucket}/data/parts"))
    made = client.submit(pipeline, config, key, server=client.connect(world.kubeflow.host))
    labels = {"pipeline/runid": made.run_id}
    pod = f"{made.name}-system-container-impl-1"
    world.cluster.put_pod(pod, labels, status={"phase": "Succeeded"})
    world.cluster.write_log(pod, f"said by {made.name}")
    if outcome:
        record_outcome(world.store, made.name, outcome)
    if state != "RUNNING":
        world.kubeflow.end(made.run_id, state)
    return made.name


def _recorded(world: World, run: str, name: str, *, outcome: str, headline: str) -> None:
    Recorder(world.store.runs, run, name=name, key="").done(outcome=outcome, headline=headline)
