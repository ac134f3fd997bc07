"""The deploy step: a canary under real requests, then promotion or rollback. On any error the incumbent stays."""

import asyncio
import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.config.cluster import ClusterConfig
from sightline.config.deploy import DeployConfig
from sightline.config.store import StoreConfig
from sightline.deploy.approval import approved
from sightline.deploy.canary import Canary, Plan
from sightline.deploy.record import CanarySummary, Deployment, Journal
from sightline.deploy.report import html_page, markdown_page
from sightline.deploy.sentinels import load_sentinels
from sightline.deploy.targets.base import CanaryNotReadyError, Clients, Started, Target
from sightline.deploy.targets.local import LocalTarget
from sightline.deploy.traffic import load_images
from sightline.deploy.verify import verify
from sightline.errors import SightlineError, TemporaryError
from sightline.evaluate.verdict import read_verified
from sightline.models.bundle import COMPILED, ModelBundle
from sightline.registry.card import render_card
from sightline.registry.ledger import Champion, Ledger
from sightline.store.artifact import Artifact, open_artifact, write_file
from sightline.store.objects import LocalStore, open_store
from sightline.store.outcomes import Outcome, OutcomeKind, record_outcome
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step

_log = logging.getLogger(__name__)


def run(
    *,
    model: str,
    verdict: str,
    dataset: str,
    config: DeployConfig,
    store: StoreConfig,
    run_id: str,
    output: str,
    cluster: ClusterConfig | None = None,
) -> StepOutput:
    """Deploys a compiled model that the gate has passed.

    A run that was killed is continued by the same call: what the ledger or the journal has decided is brought to its end, anything else
    starts again with the incumbent in production.

    Args:
        model: folder of the compiled bundle.
        verdict: folder of the verdict on it; it is verified here, whatever a pipeline's branch says.
        dataset: folder of the dataset version; its validation images are replayed, on a cluster only with ``deploy.replay``.
        config: how to judge.
        store: registry, runs, MLflow.
        run_id: the run that this belongs to.
        output: where the artifact folder is put.
        cluster: where the InferenceService is, for ``deploy.target`` kserve.

    Returns:
        A "deployment"; the outcome is "promoted", "rolled-back" or, when an approval was required and not given in time, "rejected".

    Raises:
        DataError: the verdict does not allow this model, an override that it rests on has expired or is not recorded, or something was
            altered. Nothing is started then.
        TemporaryError: another run promoted a model since the gate compared; the gate has to look again.
        EnvironmentFault: the router's port is taken, the incumbent's own server does not start, or the cluster refuses.
    """
    run_id = run_name(run_id)
    bundle = ModelBundle(open_artifact(Path(model), COMPILED))
    judged = open_artifact(Path(verdict), "verdict")
    data = open_artifact(Path(dataset), "dataset")
    verify(read_verified(Path(verdict)), bundle, data, registry=store.registry)
    step = Step(
        name="deploy",
        kind="deployment",
        module="sightline.deploy.step",
        inputs={"model": bundle.digest, "verdict": judged.digest, "dataset": data.digest},
        config=config.model_dump(mode="json"),
        reusable=False,
    )
    deploying = _Deploying(bundle, judged, data, config, store, run_id, cluster or ClusterConfig())
    return run_step(step, store=store, run_id=run_id, output=Path(output), work=deploying.work)


@dataclass(frozen=True)
class _Deploying:
    bundle: ModelBundle
    verdict: Artifact
    dataset: Artifact
    config: DeployConfig
    store: StoreConfig
    run_id: str
    cluster: ClusterConfig

    def work(self, folder: Path, progress: Progress) -> StepResult:
        started = time.monotonic()
        ledger = Ledger(self.store.registry)
        champion = ledger.champion()
        with self._messages() as messages:
            target = self._target(ledger, messages)
            if champion and champion.digest == self.bundle.digest:
                target.settle(champion)
                deployment = self._already_serving(champion)
            else:
                deployment = self._deploy(ledger, champion, target, progress)
        deployment = deployment.model_copy(update={"seconds": round(time.monotonic() - started, 3)})
        write_file(folder / "deployment.json", deployment.model_dump_json(indent=1).encode())
        write_file(folder / "report.html", html_page(deployment).encode())
        write_file(folder / "summary.md", markdown_page(deployment).encode())
        self._write_card(folder, ledger.champion())
        record_outcome(self.store, self.run_id, Outcome(kind=deployment.outcome, reason=deployment.reason))
        return StepResult(outcome=deployment.outcome, headline=_headline(deployment), metrics=_metrics(deployment))

    def _write_card(self, folder: Path, champion: Champion | None) -> None:
        """The model card beside the deployment, while this model is the champion."""
        if champion is None or champion.digest != self.bundle.digest:
            return
        verdict = read_verified(self.verdict.folder).model_dump(mode="json")
        write_file(folder / "MODEL_CARD.md", render_card(champion, self.bundle, verdict=verdict).encode())

    def _deploy(self, ledger: Ledger, champion: Champion | None, target: Target, progress: Progress) -> Deployment:
        generation = self._compared_generation(champion)
        journal = Journal(self.store.runs, self.run_id, candidate=self.bundle.digest, expected_generation=generation)
        decided = journal.rolled_back()
        if decided:  # the run was killed while it rolled back; a second chance would make the stated error rates untrue
            target.discard()
            return self._rolled_back(CanarySummary(decision="rollback", reason=decided), champion, journal)
        refusal = self._refusal(journal, progress)
        if refusal:
            return self._deployment(CanarySummary(decision="rollback", reason=refusal), champion, outcome="rejected", generation=generation)
        journal.enter("starting")
        progress("starting the servers")
        preparing = _Preparing(self.store.tracking)
        if champion is None:  # a first canary is decided within a second, and MLflow may have to build its database
            preparing.start()
        target.settle(champion)
        with target.started(champion) as arms:
            summary = self._canary(target, arms, journal, preparing, progress)
            if summary.decision == "promote":
                journal.enter("promoting")
                progress("promoting")
                digest = self.verdict.digest
                promoted = ledger.promote(self.bundle, expected_generation=generation, run_id=self.run_id, verdict_digest=digest)
                arms.promote()
        if summary.decision == "rollback":
            return self._rolled_back(summary, champion, journal)
        registered = self._register(promoted, preparing)
        journal.enter("promoted")
        return self._deployment(summary, champion, generation=promoted.generation, registered=registered)

    def _rolled_back(self, summary: CanarySummary, champion: Champion | None, journal: Journal) -> Deployment:
        journal.enter("rolled-back", summary.reason)
        return self._deployment(summary, champion, outcome="rolled-back", generation=champion.generation if champion else 0)

    def _refusal(self, journal: Journal, progress: Progress) -> str:
        """Why no canary may start; empty once it may. An approval takes time, so everything is verified again after it."""
        if self.config.approval == "none":
            return ""
        journal.enter("waiting")
        verdict = read_verified(self.verdict.folder)
        refusal = approved(verdict, self.config, registry=self.store.registry, run_id=self.run_id, progress=progress)
        if not refusal:
            verify(read_verified(self.verdict.folder), self.bundle, self.dataset, registry=self.store.registry)
            self._compared_generation(Ledger(self.store.registry).champion())
        return refusal

    def _compared_generation(self, champion: Champion | None) -> int:
        verdict = read_verified(self.verdict.folder)
        generation = champion.generation if champion else 0
        if verdict.champion_generation != generation or (champion and verdict.champion != champion.digest):
            raise TemporaryError(
                f"the gate compared with generation {verdict.champion_generation}, generation {generation} is in production now",
                remedy="run the gate again: it compares with the new champion",
            )
        return generation

    @contextlib.contextmanager
    def _messages(self) -> Iterator[Path]:
        """A folder for what servers print; it is kept with the run, also where runs are kept on S3."""
        runs = open_store(self.store.runs)
        if isinstance(runs, LocalStore):
            yield runs.root / self.run_id / "deploy"
            return
        with tempfile.TemporaryDirectory(prefix="sightline-deploy-") as scratch:
            try:
                yield Path(scratch)
            finally:
                for path in sorted(Path(scratch).glob("*.log")):
                    runs.upload(path, f"{self.run_id}/deploy/{path.name}")

    def _target(self, ledger: Ledger, messages: Path) -> Target:
        if self.config.target == "local":
            return LocalTarget(self.bundle.artifact.folder, self.config, salt=self.run_id, messages=messages)
        from sightline.cluster.api import connect
        from sightline.deploy.targets.kserve import KServeTarget

        cluster = connect(self.cluster.serving_namespace)
        return KServeTarget(cluster, self.config, ledger=ledger, bundle=self.bundle, salt=self.run_id)

    def _canary(self, target: Target, arms: Started, journal: Journal, preparing: "_Preparing", progress: Progress) -> CanarySummary:
        # Reading the images and importing Parquet support takes as long as the servers need to load.
        sentinels = load_sentinels(self.bundle, self.config.num_sentinels)
        images = load_images(self.dataset.folder) if target.replays else ()
        try:
            arms.wait_ready()
        except CanaryNotReadyError as error:
            return CanarySummary(decision="rollback", reason=error.message)
        plan = Plan(self.config, sentinels, images, half_way=preparing.start, progress=progress)
        return asyncio.run(_run(plan, arms.clients(), journal))

    def _register(self, champion: Champion, preparing: "_Preparing | None") -> str:
        """Shows the champion in MLflow. The ledger has decided already, so a failure here is told, not raised."""
        from sightline.registry import mirror

        if preparing:
            preparing.finish()
        try:
            return mirror.register(self.store.tracking, self.config.model, champion)
        except SightlineError as error:
            _log.warning("generation %d is promoted but not shown in MLflow: %s", champion.generation, error)
            return f"not registered: {error.message}"

    def _already_serving(self, champion: Champion) -> Deployment:
        """A run that was cut off after its promotion, or one that changed nothing, ends here."""
        reason = f"this model is already in production as generation {champion.generation}"
        summary = CanarySummary(decision="promote", reason=reason)
        return self._deployment(summary, champion, generation=champion.generation, registered=self._register(champion, None))

    def _deployment(
        self,
        summary: CanarySummary,
        champion: Champion | None,
        *,
        outcome: OutcomeKind = "promoted",
        generation: int,
        registered: str = "",
    ) -> Deployment:
        return Deployment(
            outcome=outcome,
            candidate=self.bundle.digest,
            incumbent=champion.digest if champion else "none",
            generation=generation,
            canary_share=self.config.canary_share if champion else 1.0,
            fault=self.config.fault,
            registered=registered,
            **{name: getattr(summary, name) for name in type(summary).model_fields if name != "decision"},
        )


async def _run(plan: Plan, clients: Clients, journal: Journal) -> CanarySummary:
    return await Canary(plan, clients, journal).run()


class _Preparing:
    """Imports MLflow and opens its database, which takes seconds, beside the second half of a canary that looks healthy."""

    def __init__(self, tracking_uri: str) -> None:
        self._tracking_uri = tracking_uri
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread:
            return
        self._thread = threading.Thread(target=self._connect, name="prepare-promotion", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        if self._thread:
            self._thread.join()

    def _connect(self) -> None:
        from sightline.registry import mirror

        with contextlib.suppress(SightlineError):  # the registration itself will say so
            mirror.connect(self._tracking_uri)


def _headline(deployment: Deployment) -> str:
    if deployment.outcome == "rejected":
        return f"REJECTED · {deployment.reason}"
    if deployment.outcome == "rolled-back":
        return f"ROLLED BACK · {deployment.reason} · {deployment.fallbacks} answered by the incumbent"
    if not deployment.arms:
        return f"PROMOTED generation {deployment.generation} · {deployment.reason}"
    canary = deployment.arms["canary"]
    requests = f"{sum(arm.requests for arm in deployment.arms.values()):,}".replace(",", " ")
    latency = "" if canary.p95_ms is None else f", p95 {canary.p95_ms:.1f} ms"
    return (
        f"PROMOTED generation {deployment.generation} · {requests} requests · canary {canary.errors} errors{latency} · "
        f"decided after {deployment.decided_after_s:.1f} s"
    )


def _metrics(deployment: Deployment) -> dict[str, float]:
    found: dict[str, float] = {
        "generation": float(deployment.generation),
        "fallbacks": float(deployment.fallbacks),
        "client_errors": float(deployment.client_errors),
        "decided_after_s": deployment.decided_after_s,
    }
    for name, arm in deployment.arms.items():
        found[f"{name}/requests"] = float(arm.requests)
        found[f"{name}/errors"] = float(arm.errors)
        found[f"{name}/slow"] = float(arm.slow)
        found |= {} if arm.p95_ms is None else {f"{name}/p95_ms": arm.p95_ms}
    return found
