"""The gate: candidate against champion on the golden images, and the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sightline.config.gate import GateConfig
from sightline.config.store import StoreConfig
from sightline.errors import DataError
from sightline.evaluate.verdict import KIND, Stage, Verdict
from sightline.gate.words import headline, overall_check, worst_slice
from sightline.store.digest import sha256_value
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step

if TYPE_CHECKING:
    from sightline.gate.collect import Case
    from sightline.gate.conclude import Subject, Terms


def run(*, candidate: str, dataset: str, stage: Stage, config: GateConfig, store: StoreConfig, run_id: str, output: str) -> StepOutput:
    """A committed verdict on a candidate; its outcome is pass, fail or inconclusive.

    Args:
        candidate: folder of a model bundle.
        dataset: folder of a dataset version; its golden images are scored, its validation images choose thresholds.
        stage: trained (the weights in eager mode) or compiled (the variant that ships, with parity against its own weights).
        config: the promotion policy.
        store: where the cache, the registry and the run's records are.
        run_id: the run that this belongs to.
        output: where the verdict folder is put.

    Raises:
        UsageError: the policy names a slice or a file that the data does not have.
        DataError: a folder is damaged, there is nothing to judge on, or predictions do not belong to the golden images one to one.
    """
    run_id = run_name(run_id)
    from sightline.data.version import DatasetVersion
    from sightline.gate.collect import Case, Reference, policy_inputs
    from sightline.gate.conclude import Terms, spend, valid_overrides
    from sightline.models.bundle import ModelBundle
    from sightline.registry.audits import anchor
    from sightline.registry.ledger import Ledger

    ledger, version = Ledger(store.registry), DatasetVersion.open(dataset)
    case = Case(ModelBundle.open(candidate), version, stage, Reference.of(ledger.champion()), Reference.of(anchor(ledger)))
    case.check_policy(config)
    subject = subject_of(case, config)
    shown = policy_for(stage, config)
    # The look is recorded before anybody sees a number, cached or not: which attempt it is belongs to the question.
    terms = Terms(shown, spend(subject, config, store.registry), valid_overrides(subject, store.registry))

    def work(folder: Path, progress: Progress) -> StepResult:
        from sightline.gate.judge import judge

        verdict = judge(case, subject, terms, folder, progress)
        return StepResult(outcome=verdict.outcome, headline=headline(verdict.checks, verdict.outcome), metrics=metrics_of(verdict))

    step = Step(
        name=f"gate-{stage}",
        kind=KIND,
        module="sightline.gate.step",
        inputs=_inputs(case, subject, terms) | policy_inputs(version, config),
        config={**shown.model_dump(mode="json"), "stage": stage},
    )
    return run_step(step, store=store, run_id=run_id, output=Path(output), work=work)


def _inputs(case: Case, subject: Subject, terms: Terms) -> dict[str, str]:
    """Digests of the models and images that are compared, and the terms on which; a change of any is another question."""
    return {
        "candidate": subject.candidate,
        "golden": subject.golden_digest,
        "validation": case.version.info.digests["val"],
        "champion": subject.champion,
        "champion_generation": str(subject.generation),
        "anchor": case.anchor.digest if case.anchor else "none",
        "attempt": str(terms.budget.attempt),
        "overrides": sha256_value([override.model_dump(mode="json") for override in terms.overrides]),
    }


def policy_for(stage: Stage, policy: GateConfig) -> GateConfig:
    """The policy of one gate of a run: figures that are shown only, and not required, are measured once, on what ships."""
    shown_later = stage == "trained" and policy.robustness_margin is None
    return policy.model_copy(update={"robustness": ()}) if shown_later else policy


def subject_of(case: Case, policy: GateConfig) -> Subject:
    """Who is compared with whom in this case."""
    from sightline.gate.conclude import Subject
    from sightline.registry.golden import NO_CHAMPION

    return Subject(
        task="classification",
        metric="macro F1" if policy.metric == "macro-f1" else "accuracy",
        stage=case.stage,
        candidate=case.bundle.digest,
        variant=case.variant,
        champion=case.champion.digest if case.champion else NO_CHAMPION,
        generation=case.champion.generation if case.champion else 0,
        golden_digest=case.version.info.digests["golden"],
        images=case.golden.sample_ids,
    )


def metrics_of(verdict: Verdict) -> dict[str, float]:
    """The verdict as scalars with stable names, for Kubeflow's and MLflow's comparison of runs."""
    overall, worst = overall_check(verdict.checks), worst_slice(verdict.checks)
    if overall.value is None:
        raise DataError("no golden image was scored")
    name = verdict.metric.lower().replace(" ", "_")
    metrics = {
        f"golden/{name}": overall.value,
        "golden/num_images": float(verdict.num_images),
        "golden/num_broken": float(verdict.flips.num_broken),
        "golden/num_fixed": float(verdict.flips.num_fixed),
        "gate/num_blocking": float(sum(c.required and c.outcome in {"fail", "inconclusive"} for c in verdict.checks)),
        "gate/attempt": float(verdict.attempt),
        "gate/alpha": verdict.alpha,
    }
    if overall.reference is not None and overall.estimate is not None:
        metrics |= {f"golden/champion_{name}": overall.reference, "golden/difference": overall.estimate}
        if worst is not None and worst.estimate is not None:
            metrics["golden/worst_slice_difference"] = worst.estimate
    return metrics | _values_by_kind(verdict)


def _values_by_kind(verdict: Verdict) -> dict[str, float]:
    names = {"calibration": "golden/ece", "latency": "latency/p95_ms", "cost": "cost/usd_per_1k", "memory": "memory_mb", "size": "size_mb"}
    found = {}
    for check in verdict.checks:
        if check.kind in names and check.value is not None and check.name != "latency against the current model":
            found[names[check.kind]] = check.value
        if check.kind == "robustness" and check.value is not None:
            found[f"robustness/{check.name.split(' (')[0].removeprefix('under ').replace(' ', '_')}"] = check.value
    return found
