"""From checks to the signed verdict: what this look may spend, which checks a person has waived, and the sentence."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import Case, Check, Confusion, Flips, Override, Stage, Task, Verdict, overall_outcome
from sightline.gate.blocking import deciding_check
from sightline.gate.waive import waive
from sightline.gate.words import reason
from sightline.registry.golden import NO_CHAMPION, Look, ledger_alpha, record_look
from sightline.registry.overrides import overrides_for


@dataclass(frozen=True)
class Subject:
    """Who is compared with whom on what.

    Attributes:
        candidate: digest of what is judged; ``variant`` is what answers.
        champion: digest of what it is compared with, or "none".
        images: names of the golden images.
    """

    task: Task
    metric: str
    stage: Stage
    candidate: str
    variant: str
    champion: str
    generation: int
    golden_digest: str
    images: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """What one look may spend.

    Attributes:
        looks: looks at this golden set so far, this one included.
        attempt: the number of this look in the alpha ledger.
        alpha: probability of promoting a model that is worse by the margin, for this look.
    """

    looks: int = 1
    attempt: int = 1
    alpha: float = 0.05


def spend(subject: Subject, policy: GateConfig, registry: str) -> Budget:
    """Records the look and says what it may spend; the same question again costs nothing.

    Without a registry nothing is remembered, and the look counts as the first; a champion compared with itself is no look.
    """
    if not registry or subject.candidate == subject.champion:
        return Budget(alpha=_alpha(subject, policy, 1))
    look = Look(subject.golden_digest, subject.images, subject.stage, subject.candidate, subject.champion)
    looks = record_look(registry, look)
    return Budget(looks.total, looks.attempt, _alpha(subject, policy, looks.attempt))


def _alpha(subject: Subject, policy: GateConfig, attempt: int) -> float:
    """A first model is compared with nothing, so it spends nothing from the ledger."""
    spends = subject.champion != NO_CHAMPION and policy.alpha_spending == "ledger"
    return ledger_alpha(policy.alpha, attempt) if spends else policy.alpha


def valid_overrides(subject: Subject, registry: str) -> tuple[Override, ...]:
    """The overrides that a person has recorded for this candidate, champion and golden set, without those that ran out."""
    if not registry:
        return ()
    found = overrides_for(registry, subject.candidate, subject.golden_digest, time.time())
    return tuple(override for override in found if override.champion == subject.champion)


@dataclass(frozen=True)
class Findings:
    """What was found besides the checks."""

    flips: Flips
    cases: tuple[Case, ...] = ()
    errors: tuple[Confusion, ...] = ()
    outside: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Terms:
    """On what terms it is decided."""

    policy: GateConfig
    budget: Budget
    overrides: tuple[Override, ...] = ()


def _deciding(checks: Sequence[Check]) -> str:
    deciding = deciding_check(checks, overall_outcome(checks))
    return deciding.name if deciding is not None else ""


def conclude(subject: Subject, checks: Iterable[Check], findings: Findings, terms: Terms) -> Verdict:
    """The verdict, not yet signed."""
    found = tuple(checks)
    judged, used = waive(found, terms.overrides)
    outcome = overall_outcome(judged)
    # What fails outside was looked at for the slice that decided; a waiver may have let another check decide.
    outside = findings.outside if _deciding(judged) == _deciding(found) else None
    return Verdict(
        task=subject.task,
        metric=subject.metric,
        stage=subject.stage,
        outcome=outcome,
        candidate=subject.candidate,
        variant=subject.variant,
        champion=subject.champion,
        champion_generation=subject.generation,
        golden_digest=subject.golden_digest,
        num_images=len(subject.images),
        looks=terms.budget.looks,
        attempt=terms.budget.attempt,
        alpha=terms.budget.alpha,
        policy=terms.policy.model_dump(mode="json"),
        checks=judged,
        flips=findings.flips,
        cases=findings.cases,
        errors=findings.errors,
        overrides=used,
        outside=outside,
        reason=reason(judged, outcome, overrides=used, alpha=terms.budget.alpha, outside=outside),
    )
