"""Renders the page: one HTML file that needs nothing else."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from sightline.report import charts, figures, values
from sightline.report.cards import build_cards
from sightline.report.champions import Champions
from sightline.report.evidence import RunEvidence
from sightline.report.judge import Judgement, judge_run
from sightline.report.lineage import links
from sightline.report.sections import build_sections
from sightline.report.sentence import WORDS, closed, waived_names

if TYPE_CHECKING:
    from jinja2 import Environment

# What the reader of such a page wants to see first.
_OPENING = {"rolled-back": "canary", "monitored": "drift"}


@dataclass(frozen=True)
class Page:
    """Everything that the page is made from."""

    title: str
    judgement: Judgement
    sentence: str
    runs: tuple[RunEvidence, ...]
    champions: Champions


def render(page: Page) -> str:
    """The page as HTML: no script, no external resource, at most 3 MB."""
    run = next((run for run in page.runs if run.run_id == page.judgement.run_id), None)
    monitor = next((step for one in reversed(page.runs) if (step := one.step("monitor")) is not None), None)
    lead, support = split_sentence(page.sentence)
    html: str = (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            word=_ending(run, page.judgement),
            lead=lead,
            support=support,
            faults=[(one, step) for one in page.runs for step in one.steps if step.record.status != "done"],
            problems=_problems(page.runs),
            cards=build_cards(run, monitor),
            runs=[(one, judgement, _ending(one, judgement)) for one, judgement in _judged(page)],
            several_runs=len(page.runs) > 1,
            sections=build_sections(page.runs, page.judgement.run_id, _OPENING.get(page.judgement.status, "")),
            links=links(page.runs),
            finished=max((one.finished_at for one in page.runs), default=0.0),
        )
    )
    return html


def _judged(page: Page) -> list[tuple[RunEvidence, Judgement]]:
    return [(run, page.judgement if run.run_id == page.judgement.run_id else judge_run(run)) for run in page.runs]


def _ending(run: RunEvidence | None, judgement: Judgement) -> str:
    """How the run ended, for its label; a label that said "Promoted" of a waived model would say too much."""
    by_override = judgement.status == "promoted" and run is not None and waived_names(run)
    return f"{WORDS[judgement.status]}{' by override' if by_override else ''}"


def split_sentence(sentence: str) -> tuple[str, str]:
    """The first sentence without its leading word, which the page shows as a label, and the rest."""
    body = sentence.partition(": ")[2] or sentence
    body = body[:1].upper() + body[1:]
    first, stop, rest = body.partition(". ")
    return (f"{first}.", rest) if stop else (body, "")


def _problems(runs: Sequence[RunEvidence]) -> list[str]:
    found = [f"Run {run.run_id}: {problem}." for run in runs for problem in run.problems]
    lost = [step for run in runs for step in run.steps if step.record.status == "done" and step.problem]
    names = ", ".join(sorted({step.record.name for step in lost}))
    return [*found, *([f"Results of these steps cannot be shown: {names}. The sections below say why."] if lost else [])]


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def drawn(draw: Callable[..., str]) -> Callable[..., Markup]:
        # The charts escape every text that they are given, which is what marks their output as safe.
        return functools.wraps(draw)(lambda *values, **named: Markup(draw(*values, **named)))  # noqa: S704

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in (
        "percent",
        "points",
        "count",
        "number",
        "decimals",
        "milliseconds",
        "seconds",
        "megabytes",
        "ratio",
        "p_value",
        "moment",
        "digest",
    ):
        environment.filters[name] = getattr(figures, name)
    environment.filters["sentence"] = closed
    environment.filters["first_line"] = lambda text: text.strip().split("\n")[0]
    environment.globals["chart"] = SimpleNamespace(interval_bar=drawn(charts.interval_bar), share_bar=drawn(charts.share_bar))
    environment.globals["figure"] = SimpleNamespace(interval=figures.interval)
    environment.globals["reading"] = values
    environment.globals["style"] = Markup((folder / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return environment
