"""The deploy step: a canary under real requests, then promotion or rollback. On any error the incumbent stays."""

import asyncio
import contextlib
import datetime
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sightline.config.deploy import DeployConfig
from sightline.config.store import StoreConfig
from sightline.deploy.canary import Canary, Plan
from sightline.deploy.record import CanarySummary, Deployment, Journal
from sightline.deploy.report import html_page, markdown_page
from sightline.deploy.sentinels import load_sentinels
from sightline.deploy.targets.local import LocalServer, ServerOptions, running
from sightline.deploy.traffic import load_images
from sightline.errors import DataError, EnvironmentFault, SightlineError, TemporaryError
from sightline.evaluate.verdict import Override, Verdict, read_verified
from sightline.models.bundle import COMPILED, ModelBundle
from sightline.registry.card import render_card
from sightline.registry.ledger import Champion, Ledger
from sightline.registry.overrides import overrides_for
from sightline.store.artifact import Artifact, open_artifact, write_file
from sightline.store.outcomes import Outcome, record_outcome
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step

_log = logging.getLogger(__name__)


class _GoldenDigest(BaseModel):
    """The part of ``dataset.json`` that shows on which golden images the verdict was made."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    digests: dict[str, str]


def run(*, model: str, verdict: str, dataset: str, config: DeployConfig, store: StoreConfig, run_id: str, output: str) -> StepOutput:
    """Deploys a compiled model that the gate has passed.

    Args:
        model: folder of the compiled bundle.
        verdict: folder of the verdict on it; it is verified here, whatever a pipeline's branch says.
        dataset: folder of the dataset version; its validation images are replayed.
        config: how to judge.
        store: registry, runs, MLflow.
        run_id: the run that this belongs to.
        output: where the artifact folder is put.

    Returns:
        A "deployment"; the outcome is "promoted" or "rolled-back".

    Raises:
        DataError: the verdict does not allow this model, an override that it rests on has expired or is not recorded, or something was
            altered. Nothing is started then.
        TemporaryError: another run promoted a model since the gate compared; the gate has to look again.
        EnvironmentFault: the router's port is taken, or the incumbent's own server does not start.
    """
    run_id = run_name(run_id)
    bundle = ModelBundle(open_artifact(Path(model), COMPILED))
    judged = open_artifact(Path(verdict), "verdict")
    data = open_artifact(Path(dataset), "dataset")
    _verify(read_verified(Path(verdict)), bundle, data, registry=store.registry)
    step = Step(
        name="deploy",
        kind="deployment",
        module="sightline.deploy.step",
        inputs={"model": bundle.digest, "verdict": judged.digest, "dataset": data.digest},
        config=config.model_dump(mode="json"),
        reusable=False,
    )
    deploying = _Deploying(bundle, judged, Path(dataset), config, store, run_id)
    return run_step(step, store=store, run_id=run_id, output=Path(output), work=deploying.work)


def _verify(verdict: Verdict, bundle: ModelBundle, dataset: Artifact, *, registry: str) -> None:
    problems = []
    if verdict.outcome != "pass":
        problems.append(f"the verdict says '{verdict.outcome}': {verdict.reason}")
    if verdict.stage != "compiled":
        problems.append(f"the verdict is about the {verdict.stage} model, expected the compiled one")
    if verdict.candidate != bundle.digest:
        problems.append(f"the verdict is about model {verdict.candidate[:12]}, this one is {bundle.digest[:12]}")
    if verdict.variant != bundle.info.chosen:
        problems.append(f"the verdict is about variant '{verdict.variant}', the bundle serves '{bundle.info.chosen}'")
    golden = _GoldenDigest.model_validate_json(dataset.file("dataset.json").read_bytes()).digests.get("golden", "")
    if verdict.golden_digest != golden:
        problems.append("the verdict was made on another golden set than this dataset has")
    if problems:
        raise DataError("the verdict does not allow this model to be deployed", problems=problems, remedy="run the gate on this model")
    _verify_overrides(verdict, registry)


def _verify_overrides(verdict: Verdict, registry: str) -> None:
    """Stops when an override that the verdict rests on is not valid now, whatever was valid when the gate ran."""
    if not verdict.overrides:
        return
    now = time.time()
    valid = overrides_for(registry, verdict.candidate, verdict.golden_digest, now)
    problems = [_not_valid(override, now) for override in verdict.overrides if override not in valid]
    if problems:
        raise DataError(
            "the verdict rests on overrides that are not valid now",
            problems=problems,
            remedy="run the gate again, and record a new override (sightline gate override) if the model shall ship all the same",
        )


def _not_valid(override: Override, now: float) -> str:
    about = f"the override of {', '.join(override.checks)} by {override.who}"
    if override.until <= now:
        ended = datetime.datetime.fromtimestamp(override.until, tz=datetime.UTC)
        return f"{about} expired on {ended:%Y-%m-%d %H:%M} UTC"
    return f"{about} is not in the registry for this model and these golden images"


@dataclass(frozen=True)
class _Deploying:
    bundle: ModelBundle
    verdict: Artifact
    dataset: Path
    config: DeployConfig
    store: StoreConfig
    run_id: str

    def work(self, folder: Path, progress: Progress) -> StepResult:
        started = time.monotonic()
        ledger = Ledger(self.store.registry)
        champion = ledger.champion()
        if champion and champion.digest == self.bundle.digest:
            deployment = self._already_serving(champion)
        else:
            deployment = self._deploy(ledger, champion, progress)
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

    def _deploy(self, ledger: Ledger, champion: Champion | None, progress: Progress) -> Deployment:
        generation = self._compared_generation(champion)
        journal = Journal(self._folder / "state.json", candidate=self.bundle.digest, expected_generation=generation)
        preparing = _Preparing(self.store.tracking)
        journal.enter("starting")
        progress("starting the servers")
        if champion is None:  # a first canary is decided within a second, and MLflow may have to build its database
            preparing.start()
        summary = self._canary(champion, journal, preparing, progress)
        if summary.decision == "rollback":
            journal.enter("rolled-back", summary.reason)
            return self._deployment(summary, champion, generation=generation)
        journal.enter("promoting")
        progress("promoting")
        promoted = ledger.promote(self.bundle, expected_generation=generation, run_id=self.run_id, verdict_digest=self.verdict.digest)
        registered = self._register(promoted, preparing)
        journal.enter("promoted")
        return self._deployment(summary, champion, generation=promoted.generation, registered=registered)

    def _compared_generation(self, champion: Champion | None) -> int:
        verdict = read_verified(self.verdict.folder)
        generation = champion.generation if champion else 0
        if verdict.champion_generation != generation or (champion and verdict.champion != champion.digest):
            raise TemporaryError(
                f"the gate compared with generation {verdict.champion_generation}, generation {generation} is in production now",
                remedy="run the gate again: it compares with the new champion",
            )
        return generation

    @property
    def _folder(self) -> Path:
        return Path(self.store.runs) / self.run_id / "deploy"

    def _canary(self, champion: Champion | None, journal: Journal, preparing: "_Preparing", progress: Progress) -> CanarySummary:
        config = self.config
        with self._servers(champion) as (canary, incumbent):
            # Reading the images and importing Parquet support takes as long as the servers need to load.
            sentinels = load_sentinels(self.bundle, config.num_sentinels)
            images = load_images(self.dataset)
            if incumbent:
                incumbent.wait_ready()  # without a warm incumbent there would be nothing to fall back to
            try:
                canary.wait_ready()
            except EnvironmentFault as error:
                return CanarySummary(decision="rollback", reason=error.message)
            plan = Plan(config, sentinels, images, salt=self.run_id, half_way=preparing.start, progress=progress)
            return asyncio.run(_run(plan, canary, incumbent, journal))

    @contextlib.contextmanager
    def _servers(self, champion: Champion | None) -> Iterator[tuple[LocalServer, LocalServer | None]]:
        config = self.config
        with contextlib.ExitStack() as stack:
            incumbent = None
            if champion:
                options = ServerOptions("stable", self._folder / "stable.log", model=config.model, host=config.host)
                incumbent = stack.enter_context(running(Path(champion.folder), options))
            options = ServerOptions(
                "canary",
                self._folder / "canary.log",
                fault=config.fault,
                fault_delay_s=2 * config.latency_slo_ms / 1e3,
                model=config.model,
                host=config.host,
            )
            canary = stack.enter_context(running(self.bundle.artifact.folder, options))
            try:
                yield canary, incumbent
            finally:  # both drain at the same time, the stack then waits for one after the other
                for server in (canary, incumbent):
                    if server:
                        server.terminate()

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

    def _deployment(self, summary: CanarySummary, champion: Champion | None, *, generation: int, registered: str = "") -> Deployment:
        return Deployment(
            outcome="promoted" if summary.decision == "promote" else "rolled-back",
            candidate=self.bundle.digest,
            incumbent=champion.digest if champion else "none",
            generation=generation,
            canary_share=self.config.canary_share if champion else 1.0,
            fault=self.config.fault,
            registered=registered,
            **{name: getattr(summary, name) for name in type(summary).model_fields if name != "decision"},
        )


async def _run(plan: Plan, canary: LocalServer, incumbent: LocalServer | None, journal: Journal) -> CanarySummary:
    return await Canary(plan, canary=canary, incumbent=incumbent, journal=journal).run()


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
