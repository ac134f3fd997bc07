"""The gate: candidate against champion on the golden images, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.config.gate import GateConfig
from sightline.config.store import StoreConfig
from sightline.errors import DataError
from sightline.evaluate.verdict import KIND, Flips, Stage, Verdict, overall_outcome, write_verdict
from sightline.gate.words import headline, overall_check, reason, summary, worst_slice
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_step

if TYPE_CHECKING:
    from sightline.gate.collect import Case
    from sightline.gate.evidence import Evidence
    from sightline.registry.ledger import Champion

_NO_CHAMPION = "none"


@dataclass(frozen=True)
class _Subject:
    """Who is compared with whom."""

    candidate: str
    champion: Champion | None
    golden_digest: str

    @property
    def inputs(self) -> dict[str, str]:
        """The digests of everything that the verdict depends on."""
        champion = self.champion.digest if self.champion else _NO_CHAMPION
        generation = str(self.champion.generation if self.champion else 0)
        return {"candidate": self.candidate, "golden": self.golden_digest, "champion": champion, "champion_generation": generation}


def run(*, candidate: str, dataset: str, stage: Stage, config: GateConfig, store: StoreConfig, run_id: str, output: str) -> StepOutput:
    """A committed verdict on a candidate; its outcome is pass, fail or inconclusive.

    Args:
        candidate: folder of a model bundle.
        dataset: folder of a dataset version; only its golden images are scored.
        stage: trained (the weights in eager mode) or compiled (the variant that ships, with parity against its own weights).
        config: the promotion policy.
        store: where the cache, the registry and the run's records are.
        run_id: the run that this belongs to.
        output: where the verdict folder is put.

    Raises:
        UsageError: the policy names a slice or a file that the data does not have.
        DataError: a folder is damaged, there is nothing to judge on, or predictions do not belong to the golden images one to one.
    """
    from sightline.data.version import DatasetVersion
    from sightline.gate.collect import Case, policy_inputs
    from sightline.models.bundle import ModelBundle
    from sightline.registry.ledger import Ledger

    bundle, version = ModelBundle.open(candidate), DatasetVersion.open(dataset)
    subject = _Subject(bundle.digest, Ledger(store.registry).champion(), version.info.digests["golden"])
    case = Case(bundle, version, stage, subject.champion)

    def work(folder: Path, progress: Progress) -> StepResult:
        case.check_policy(config)
        evidence = case.collect(config, progress)
        return _conclude(case, evidence, _judge(case, evidence, subject, (config, store)), folder)

    step = Step(
        name=f"gate-{stage}",
        kind=KIND,
        module="sightline.gate.step",
        inputs=subject.inputs | policy_inputs(version, config),
        config={**config.model_dump(mode="json"), "stage": stage},
    )
    return run_step(step, store=store, run_id=run_id, output=Path(output), work=work)


def _judge(case: Case, evidence: Evidence, subject: _Subject, settings: tuple[GateConfig, StoreConfig]) -> Verdict:
    from sightline.gate.decide import decide
    from sightline.gate.evidence import Pair
    from sightline.registry.golden import record_look

    policy, store = settings
    checks = decide(evidence, policy)
    outcome = overall_outcome(checks)
    old = evidence.correct(evidence.champion or evidence.candidate)
    flips = Pair.count(old, evidence.correct(evidence.candidate))
    # The champion is part of the key: the same candidate against another champion is another look.
    looks = record_look(store.registry, subject.golden_digest, f"{case.stage}:{subject.candidate}:{subject.inputs['champion']}")
    return Verdict(
        stage=case.stage,
        outcome=outcome,
        candidate=subject.candidate,
        variant=case.variant,
        champion=subject.inputs["champion"],
        champion_generation=subject.champion.generation if subject.champion else 0,
        golden_digest=subject.golden_digest,
        num_images=len(evidence.labels_N),
        looks=looks,
        checks=checks,
        flips=Flips(num_broken=flips.num_broken, num_fixed=flips.num_fixed),
        reason=reason(checks, outcome),
    )


def _conclude(case: Case, evidence: Evidence, verdict: Verdict, folder: Path) -> StepResult:
    from sightline.gate.report import render

    signed = write_verdict(folder, verdict)
    case.predictions(evidence).to_parquet(folder / "predictions.parquet", index=False)
    (folder / "report.html").write_text(render(signed, evidence, case.golden, case.classes), encoding="utf-8")
    (folder / "summary.md").write_text(summary(signed), encoding="utf-8")
    return StepResult(outcome=signed.outcome, headline=headline(signed.checks, signed.outcome), metrics=_metrics(signed))


def _metrics(verdict: Verdict) -> dict[str, float]:
    overall, worst = overall_check(verdict.checks), worst_slice(verdict.checks)
    if overall.value is None:
        raise DataError("no golden image was scored")
    metrics = {"golden/accuracy": overall.value, "golden/num_images": float(verdict.num_images)}
    if overall.reference is not None and overall.estimate is not None:
        metrics |= {"golden/champion_accuracy": overall.reference, "golden/difference": overall.estimate}
        if worst is not None and worst.estimate is not None:
            metrics["golden/worst_slice_difference"] = worst.estimate
    return metrics
