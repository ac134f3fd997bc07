"""One judgement of a bundle: evidence, checks, verdict, and the files that explain it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.evaluate.confusions import confusions
from sightline.evaluate.verdict import Check, Flips, Verdict, write_verdict
from sightline.gate.cause import failing_outside
from sightline.gate.conclude import Findings, Subject, Terms, conclude
from sightline.gate.decide import decide
from sightline.gate.drawings import reliability_curves
from sightline.gate.evidence import Evidence, Pair
from sightline.gate.gallery import GoldenPictures, classification_galleries
from sightline.gate.report import Page, render
from sightline.gate.threshold_table import write_thresholds
from sightline.gate.variants import endpoint_checks, write_variants
from sightline.gate.words import summary

if TYPE_CHECKING:
    from sightline.config.gate import GateConfig
    from sightline.data.version import Split
    from sightline.gate.collect import Case
    from sightline.runtimes.endpoint import Live
    from sightline.store.steps import Progress


def judge(case: Case, subject: Subject, terms: Terms, folder: Path, progress: Progress, *, live: Live | None = None) -> Verdict:
    """The signed verdict; ``folder`` gets verdict.json, report.html, summary.md, predictions.parquet and, for what ships,
    variants.json and thresholds.json.

    Args:
        case: candidate, data and references.
        subject: who is compared with whom.
        terms: policy, level and overrides.
        folder: empty.
        progress: told what is going on.
        live: what a live endpoint answered; it is then judged too.
    """
    evidence = case.collect(terms.policy, terms.budget.alpha, progress)
    checks = [*decide(evidence, terms.policy), *(endpoint_checks(live, evidence, terms.policy) if live else [])]
    progress(f"deciding on {len(subject.images)} golden images")
    verdict = conclude(subject, checks, findings(evidence, case.classes, checks, terms.policy), terms)
    signed = write_verdict(folder, verdict)
    case.predictions(evidence).to_parquet(folder / "predictions.parquet", index=False)
    variants = case.variants(evidence, terms.policy, progress, live=live)
    if variants is not None:
        write_variants(folder, variants, candidate=subject.candidate, golden_digest=subject.golden_digest)
    thresholds = case.thresholds(evidence, progress)
    if thresholds is not None:
        write_thresholds(folder, thresholds)
    page = Page(
        verdict=signed,
        galleries=classification_galleries(evidence, _pictures(case.golden), case.classes, signed.checks),
        variants=variants,
        reliability=reliability_curves(evidence),
        thresholds=thresholds,
    )
    (folder / "report.html").write_text(render(page), encoding="utf-8")
    (folder / "summary.md").write_text(summary(signed), encoding="utf-8")
    return signed


def _pictures(golden: Split) -> GoldenPictures:
    return GoldenPictures(lambda row: np.asarray(golden.pixels_NHWC[row]), golden.locations)


def findings(evidence: Evidence, classes: tuple[str, ...], checks: Sequence[Check], policy: GateConfig) -> Findings:
    """Flips, must-pass cases, the kinds of errors, and what fails outside the deciding slice."""
    old = evidence.correct(evidence.champion or evidence.candidate)
    flips = Pair.count(old, evidence.correct(evidence.candidate))
    errors = confusions(evidence.labels_N, evidence.champion, evidence.candidate, classes)
    return Findings(
        Flips(num_broken=flips.num_broken, num_fixed=flips.num_fixed), evidence.cases, errors, failing_outside(evidence, checks, policy)
    )
