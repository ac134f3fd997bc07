"""The model card: what the model in production is, what it was made from, and what it showed before it shipped."""

import datetime
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import DataError
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Champion

_UNITS = {"share": "", "MB": " MB", "ms": " ms", "USD": " USD"}


class _Check(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    kind: str = ""
    required: bool
    outcome: str
    metric: str = "accuracy"
    unit: str = "share"
    lower_is_better: bool = False
    num_images: int = 0
    reference: float | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    margin: float | None = None
    test: str = ""
    detail: str = ""


class _Case(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    wanted: str
    given: str


class _Override(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    checks: tuple[str, ...]
    who: str
    why: str
    until: float


class _Verdict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    outcome: str
    reason: str
    task: str = "classification"
    metric: str = "accuracy"
    champion: str = "none"
    golden_digest: str = ""
    num_images: int = 0
    looks: int = 0
    attempt: int | None = None
    alpha: float | None = None
    checks: tuple[_Check, ...] = ()
    cases: tuple[_Case, ...] = ()
    overrides: tuple[_Override, ...] = ()


def render_card(champion: Champion, bundle: ModelBundle, *, verdict: Mapping[str, Any]) -> str:
    """``MODEL_CARD.md`` as text.

    Args:
        champion: the promotion.
        bundle: the opened bundle that was promoted.
        verdict: ``verdict.json`` as a plain value.

    Raises:
        DataError: the card would describe another model, or the verdict cannot be read.
    """
    if champion.digest != bundle.digest:
        raise DataError(f"the card of model {champion.digest[:12]} cannot describe bundle {bundle.digest[:12]}")
    try:
        judged = _Verdict.model_validate(verdict)
    except ValidationError as error:
        raise DataError(f"the verdict cannot be read: {error.error_count()} invalid fields", remedy="run the gate again") from error
    about = [*_identity(champion, bundle), *_use(bundle), *_origin(bundle)]
    return "\n".join([*about, *_evidence(champion, judged), *_overrides(judged), *_limits(judged)])


def _identity(champion: Champion, bundle: ModelBundle) -> list[str]:
    info = bundle.info
    promoted = datetime.datetime.fromtimestamp(champion.promoted_at, tz=datetime.UTC)
    replaced = f"generation {champion.previous}" if champion.previous is not None else "no earlier model"
    return [
        f"# Model card: generation {champion.generation}",
        "",
        "| | |",
        "|---|---|",
        f"| model | `{champion.digest}` |",
        f"| promoted | {promoted:%Y-%m-%d %H:%M:%S} UTC by run `{champion.run_id}`; a rollback returns to {replaced} |",
        f"| network | {info.backbone}, width {info.width}, embedding of {info.embedding_dim} |",
        f"| ships as | {info.chosen or 'not compiled'} |",
        f"| started from | {f'the weights of `{info.parent[:12]}`' if info.parent else 'random weights'} |",
        "",
    ]


def _use(bundle: ModelBundle) -> list[str]:
    size_px = bundle.preprocessing.size_px
    return [
        "## Intended use",
        "",
        f"Classifies one image into one of {len(bundle.info.classes)} classes: {', '.join(_cell(name) for name in bundle.info.classes)}.",
        f"Images are resized to {size_px}×{size_px} pixels, {bundle.preprocessing.colour}.",
        "An image that shows none of the classes gets one anyway.",
        "",
    ]


def _origin(bundle: ModelBundle) -> list[str]:
    digests = [f"| {split} | `{digest}` |" for split, digest in sorted(bundle.info.dataset_digests.items())]
    return ["## Data", "", "| split | digest |", "|---|---|", *digests, ""] if digests else []


def _evidence(champion: Champion, judged: _Verdict) -> list[str]:
    compared = "no champion: it was the first model" if judged.champion == "none" else f"champion `{judged.champion[:12]}`"
    lines = [
        "## Evidence",
        "",
        f"Verdict **{judged.outcome}**: {_cell(judged.reason)}",
        "",
        f"Judged on {judged.num_images} golden images (`{judged.golden_digest[:12]}`, look {judged.looks}) against {compared}.",
        f"Task: {_cell(judged.task)}; the metric that decides is {_cell(judged.metric)}.",
        *_promises(judged),
        f"Verdict `{champion.verdict_digest[:12]}`.",
        "",
    ]
    if judged.checks:
        lines += [
            "| check | required | outcome | metric | images | before | now | interval | margin | test |",
            "|---|---|---|---|---:|---:|---:|---|---:|---|",
        ]
        lines += [_row(check) for check in judged.checks]
        lines.append("")
    return lines


def _promises(judged: _Verdict) -> list[str]:
    """What bounds the errors over many promotions: the alpha ledger, the anchor, the must-pass cases."""
    lines = []
    if judged.champion != "none" and judged.attempt is not None and judged.alpha is not None:
        spent = f"alpha = {judged.alpha:.3g}, the largest probability that a model worse by the margin passes it"
        lines.append(f"Attempt {judged.attempt} in the alpha ledger of these images; the comparison could spend {spent}.")
    anchors = [check for check in judged.checks if check.kind == "anchor"]
    told = [f"Last audited model: {check.outcome}; {_cell(check.detail)}." for check in anchors]
    lines += told or ["Last audited model: not compared with."]
    right = sum(case.wanted == case.given for case in judged.cases)
    lines.append(f"Must-pass cases: {right} of {len(judged.cases)} right." if judged.cases else "Must-pass cases: none.")
    return lines


def _row(check: _Check) -> str:
    unit = _UNITS.get(check.unit, f" {check.unit}")
    interval = f"{check.interval[0]:+.3f} … {check.interval[1]:+.3f}{unit}" if check.interval else "–"
    numbers = " | ".join("–" if value is None else f"{value:.3f}{unit}" for value in (check.reference, check.value))
    margin = "–" if check.margin is None else f"{check.margin:g}{unit}"
    required = "yes" if check.required else "no"
    metric = f"{check.metric}, lower is better" if check.lower_is_better else check.metric
    metric = "–" if check.reference is None and check.value is None else metric
    cells = (_cell(check.name), required, check.outcome, _cell(metric), str(check.num_images), numbers, interval, margin, check.test or "–")
    return f"| {' | '.join(cells)} |"


def _overrides(judged: _Verdict) -> list[str]:
    if not judged.overrides:
        return []
    lines = ["## Overrides", "", "People decided to ship in spite of these checks:", ""]
    for override in judged.overrides:
        until = datetime.datetime.fromtimestamp(override.until, tz=datetime.UTC)
        names = ", ".join(_cell(name) for name in override.checks)
        lines.append(f"* {names}: {_cell(override.who)}, until {until:%Y-%m-%d %H:%M} UTC: {_cell(override.why)}")
    return [*lines, ""]


def _limits(judged: _Verdict) -> list[str]:
    open_checks = [check for check in judged.checks if check.outcome in {"warn", "inconclusive", "fail", "waived"}]
    known = [f"* {_cell(check.name)}: {check.outcome}, {check.num_images} images" for check in open_checks]
    return ["## Known limits", "", *(known or ["No check warned or stayed open; slices that are not listed above were not judged."]), ""]


def _cell(text: str) -> str:
    """Names come from folders and files: nothing in them may break out of a table cell or become markup."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
