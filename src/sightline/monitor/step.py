"""The monitor step: served images against the champion's reference, a decision, and the pages that show why."""

from pathlib import Path

from sightline.config.monitor import MonitorConfig
from sightline.config.store import StoreConfig
from sightline.errors import UsageError
from sightline.models.bundle import ModelBundle
from sightline.monitor.decide import Decision, admit, decide
from sightline.monitor.drift import compare, most_different
from sightline.monitor.evidently_report import write_evidently
from sightline.monitor.report import render_html, render_markdown
from sightline.monitor.result import Drift
from sightline.monitor.sample import Sample, Served, read_reference, read_served
from sightline.monitor.webhook import deliver
from sightline.registry.ledger import Champion, Ledger
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step

KIND = "drift"


def run(*, served: str, config: MonitorConfig, store: StoreConfig, run_id: str, output: str) -> StepOutput:
    """Looks at what the champion served and decides: ``wait``, ``ignore``, ``label`` or ``retrain``.

    Args:
        served: the served log, a folder or ``s3://bucket/prefix``.
        config: the monitor section.
        store: where the registry, the cache and the run's records are.
        run_id: a run that asks twice counts one retraining.
        output: where ``drift.json``, ``report.html``, ``summary.md`` and ``evidently.html`` go.

    Raises:
        UsageError: there is no champion, or no served log.
        DataError: the registry, the reference or the log is damaged.
    """
    run_id = run_name(run_id)
    champion = Ledger(store.registry).champion()
    if champion is None:
        raise UsageError(f"{store.registry} has no champion to monitor", remedy="promote a model first: sightline run sightline.yaml")
    log = read_served(served, model=champion.digest, max_images=config.max_images)

    def work(folder: Path, progress: Progress) -> StepResult:
        progress(f"{len(log.sample)} served images")
        reference = read_reference(ModelBundle.open(champion.folder))
        drift = _look(reference, log, champion, config)
        decision = admit(
            Decision(kind=drift.decision, reason=drift.reason), store.registry, run_id=run_id, model=champion.digest, config=config
        )
        drift = drift.model_copy(update={"decision": decision.kind, "reason": decision.reason})
        deliver(config.webhook, decision, model=champion.digest, run_id=run_id)
        progress("Evidently page")
        _write_pages(folder, drift, reference, log.sample, seed=config.seed)
        return StepResult(outcome=drift.decision, headline=drift.headline, metrics=drift.metrics)

    step = Step(
        name="monitor",
        kind=KIND,
        module="sightline.monitor.step",
        inputs={"model": champion.digest, "served": log.digest},
        config=config.model_dump(mode="json"),
        seed=config.seed,
        reusable=False,
    )
    return run_step(step, store=store, run_id=run_id, output=Path(output), work=work)


def _look(reference: Sample, log: Served, champion: Champion, config: MonitorConfig) -> Drift:
    enough = len(log.sample) >= config.min_images
    signals = compare(reference, log.sample, config) if enough else ()
    decision = decide(signals, len(log.sample), config)
    drifted = any(signal.drifted for signal in signals)
    return Drift(
        decision=decision.kind,
        reason=decision.reason,
        signals=signals,
        num_reference=len(reference),
        num_served=len(log.sample),
        num_other_model=log.num_other_model,
        num_repeated=log.num_repeated,
        model=champion.digest,
        alpha=config.alpha,
        min_effect=config.min_effect,
        label_first=most_different(reference, log.sample) if drifted else (),
    )


def _write_pages(folder: Path, drift: Drift, reference: Sample, served: Sample, *, seed: int) -> None:
    page = render_html(drift)
    (folder / "drift.json").write_text(drift.model_dump_json(indent=1), encoding="utf-8")
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "summary.md").write_text(render_markdown(drift), encoding="utf-8")
    if drift.decision == "wait":
        (folder / "evidently.html").write_text(page, encoding="utf-8")  # nothing to compare yet: the same page says so
    else:
        write_evidently(reference, served, folder / "evidently.html", seed=seed)
