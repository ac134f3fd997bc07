"""Every compiled variant and the live endpoint, judged on the same golden images by the same rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from sightline.errors import SightlineError
from sightline.evaluate.predict import Answers, aligned
from sightline.evaluate.verdict import Check, Frozen, overall_outcome
from sightline.gate.evidence import BoolArray, Evidence
from sightline.gate.measured import BenchmarkRow, benchmark_rows, size_bytes
from sightline.gate.paired import champion_checks, parity_checks
from sightline.gate.variant_table import VariantColumn, VariantTable
from sightline.runtimes.base import EAGER
from sightline.runtimes.endpoint import Live, require_model
from sightline.store.artifact import write_file

if TYPE_CHECKING:
    from sightline.config.gate import GateConfig
    from sightline.data.version import Split
    from sightline.models.bundle import ModelBundle
    from sightline.runtimes.endpoint import Endpoint
    from sightline.store.steps import Progress

FILE = "variants.json"
CHAMPION = "champion"
ENDPOINT = "endpoint"
JUDGED = "judged"


@dataclass(frozen=True)
class Candidate:
    """Whose variants are judged, and on what.

    Attributes:
        bundle: the candidate.
        split: the golden images.
        classes: the dataset's class names in label order.
        answers: what a variant answers on ``split``, in its order; raises SightlineError where it cannot be run.
        variant: the one whose answers are the evidence's.
    """

    bundle: ModelBundle
    split: Split
    classes: tuple[str, ...]
    answers: Callable[[str], Answers]
    variant: str


@dataclass(frozen=True)
class _Column:
    """What is known of one variant before it is judged; ``problem`` says why there are no answers."""

    name: str
    answers: Answers | None
    problem: str = ""
    p95_ms: float | None = None
    size_mb: float | None = None


class VariantsRecord(Frozen):
    """``variants.json``: the table of variants and what it is about.

    Attributes:
        candidate: digest of the bundle.
        reference: name of the first column, with which the others are compared.
    """

    schema_version: Literal[1] = 1
    candidate: str
    golden_digest: str
    reference: str
    slices: tuple[str, ...]
    num_images: tuple[int, ...]
    columns: tuple[VariantColumn, ...]


def variant_table(
    candidate: Candidate, evidence: Evidence, policy: GateConfig, *, progress: Progress, live: Live | None = None
) -> VariantTable:
    """Accuracy of every variant overall and per slice, the difference to the first column, and what the gate's rules say of it.

    The first column is the champion, and each variant must be non-inferior to it as the candidate must; for a first model it is the
    candidate's own trained weights, and the rule is parity. Each variant is scored once; answers that the evidence holds are not asked for
    again. A variant that cannot be run keeps its column, with the reason.

    Args:
        candidate: the bundle, the golden images, and how to ask a variant.
        evidence: what the gate has seen of the candidate, in the order of the golden images.
        policy: the gate section.
        progress: told before each variant is scored.
        live: what ``live_answers`` gave, if an endpoint is judged too.
    """
    columns = list(_columns(candidate, evidence, progress))
    if live is not None:
        columns.append(_live_column(live, candidate))
    rows = {"overall": np.ones(len(evidence.labels_N), dtype=np.bool_), **{name: m for name, m in evidence.masks.items() if m.any()}}
    first, *others = columns
    judged = [_judged(first, evidence, rows, base=None, outcome="")]
    for column in others:
        outcome = _outcome(column, _checks(column, candidate, evidence, policy))
        judged.append(_judged(column, evidence, rows, base=first.answers, outcome=outcome))
    return VariantTable(tuple(rows), tuple(int(mask.sum()) for mask in rows.values()), tuple(judged))


def live_answers(endpoint: Endpoint, candidate: Candidate, *, any_model: bool = False) -> Live:
    """What a live endpoint answers to the golden images' files.

    Args:
        endpoint: the client.
        candidate: whose model must be served.
        any_model: judge whatever is served.

    Raises:
        DataError: another model is served, or a file was altered.
        SightlineError: the endpoint cannot be asked; see ``Endpoint.served``. A single missing answer is an invalid one, not an error.
    """
    if not any_model:
        require_model(endpoint.served(), candidate.bundle.digest, endpoint.url)
    live = endpoint.ask(candidate.split, candidate.classes)
    if not any_model:
        require_model(live.served, candidate.bundle.digest, endpoint.url)
    return replace(live, answers=aligned(live.answers, candidate.split.sample_ids))


def endpoint_checks(live: Live, evidence: Evidence, policy: GateConfig) -> list[Check]:
    """Whether the live endpoint answers as the model that was judged: valid answers and parity of accuracy, both required."""
    name, parity = "valid answers of the endpoint", "parity of the endpoint with the judged model"
    num_invalid, num_images = live.answers.num_invalid, len(live.answers.sample_ids)
    examples = f", such as {'; '.join(live.problems[:3])}" if live.problems else ""
    detail = f"{num_invalid} of {num_images} images got no usable answer{examples}" if num_invalid else "every image got a usable answer"
    outcome: Literal["fail", "pass"] = "fail" if num_invalid else "pass"
    checks = [Check(name=name, kind="answers", required=True, outcome=outcome, num_images=num_images, detail=detail)]
    names = {"parity": parity, "agreement": "agreement of the endpoint with the judged model"}
    found = parity_checks(replace(evidence, candidate=live.answers), evidence.candidate, policy)
    return checks + [check.model_copy(update={"name": names.get(check.kind, check.name)}) for check in found]


def write_variants(folder: Path, table: VariantTable, *, candidate: str, golden_digest: str) -> None:
    """Writes ``variants.json`` into ``folder``.

    Args:
        folder: the verdict's.
        table: what ``variant_table`` gave.
        candidate: digest of the bundle.
        golden_digest: digest of the golden images.
    """
    record = VariantsRecord(candidate=candidate, golden_digest=golden_digest, reference=table.columns[0].name, **asdict(table))
    write_file(folder / FILE, record.model_dump_json(indent=1).encode())


def _columns(candidate: Candidate, evidence: Evidence, progress: Progress) -> Iterator[_Column]:
    bundle = candidate.bundle
    measured = {row.name: row for row in benchmark_rows(bundle)}
    known = {candidate.variant: evidence.candidate} | ({} if evidence.eager is None else {EAGER: evidence.eager})
    if evidence.champion is not None:
        yield _Column(CHAMPION, evidence.champion)
    for name in dict.fromkeys((EAGER, *bundle.info.variants, *measured)):
        yield _variant(name, candidate, known, measured.get(name), progress)


def _variant(name: str, candidate: Candidate, known: Mapping[str, Answers], row: BenchmarkRow | None, progress: Progress) -> _Column:
    size_mb = size_bytes(candidate.bundle, name) / 1e6 or None
    column = _Column(name, known.get(name), "", row.p95_ms if row else None, size_mb)
    if column.answers is not None:
        return column
    if name != EAGER and name not in candidate.bundle.info.variants:
        return replace(column, problem=_short(f"{row.status}: {row.reason or 'no reason was given'}" if row else "unavailable"))
    progress(f"scoring {name} on {len(candidate.split)} golden images")
    try:
        return replace(column, answers=aligned(candidate.answers(name), candidate.split.sample_ids))
    except SightlineError as error:
        return replace(column, problem=_short(f"unavailable: {error.message}"))


def _live_column(live: Live, candidate: Candidate) -> _Column:
    other = "" if live.served.digest == candidate.bundle.digest else f" ({live.served.digest[:12] or 'unknown model'})"
    return _Column(ENDPOINT + other, live.answers)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"


def _checks(column: _Column, candidate: Candidate, evidence: Evidence, policy: GateConfig) -> list[Check]:
    if column.answers is None:
        return []
    same_model = evidence.same_model and column.name == candidate.variant
    subject = replace(evidence, candidate=column.answers, same_model=same_model)
    if evidence.champion is not None:
        return champion_checks(subject, evidence.champion, policy)
    return parity_checks(subject, evidence.eager or evidence.candidate, policy)


def _outcome(column: _Column, checks: Sequence[Check]) -> str:
    return "fail" if column.answers is not None and column.answers.num_invalid else overall_outcome(checks)


def _judged(column: _Column, evidence: Evidence, rows: Mapping[str, BoolArray], *, base: Answers | None, outcome: str) -> VariantColumn:
    values = _accuracies(evidence, column.answers, rows)
    compared = zip(values, _accuracies(evidence, base, rows), strict=True)
    return VariantColumn(
        name=column.name,
        status=JUDGED if column.answers is not None else column.problem or "not judged",
        values=values,
        estimates=tuple(None if new is None or old is None else new - old for new, old in compared),
        outcome=outcome,
        p95_ms=column.p95_ms,
        size_mb=column.size_mb,
    )


def _accuracies(evidence: Evidence, answers: Answers | None, rows: Mapping[str, BoolArray]) -> tuple[float | None, ...]:
    if answers is None:
        return (None,) * len(rows)
    right = evidence.correct(answers)
    return tuple(float(right[mask].mean()) if mask.any() else None for mask in rows.values())
