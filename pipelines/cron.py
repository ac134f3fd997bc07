"""Cron expressions as Kubeflow reads them: six fields, seconds first."""

import re
from collections.abc import Sequence

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, Sequence[str]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


def problems(expression: str) -> list[str]:
    """What is wrong with a cron expression, each with the field's name; empty when Kubeflow's scheduler can read it."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        hint = f", for example '0 {expression}'" if len(fields) == len(_FIELDS) - 1 else ", for example '0 0 3 * * 1' (Mondays at 03:00)"
        return [f"'{expression}' has {len(fields)} fields, expected 6 with the seconds first{hint}"]
    return [problem for text, field in zip(fields, _FIELDS, strict=True) for problem in _field_problems(text, *field)]


def _field_problems(text: str, name: str, low: int, high: int, words: Sequence[str]) -> list[str]:
    return [f"{name}: {problem}" for part in text.split(",") if (problem := _part_problem(part, name, low, high, words))]


def _part_problem(part: str, name: str, low: int, high: int, words: Sequence[str]) -> str:
    match = _PART.fullmatch(part)
    if not match:
        return f"'{part}' is not a number, a range, a list or *"
    if match["first"] in {"*", "?"}:
        if match["last"] or (match["first"] == "?" and not name.startswith("day")):
            return f"'{part}' is not allowed here"
        return _step_problem(match["step"], high)
    ends = [_number(text, low, words) for text in (match["first"], match["last"] or match["first"])]
    if None in ends or not all(low <= end <= high for end in ends if end is not None):
        return f"'{part}' is outside {low} to {high}"
    return "the range runs backwards" if sorted(ends) != ends else _step_problem(match["step"], high)  # type: ignore[type-var]


def _step_problem(step: str | None, high: int) -> str:
    return "" if step is None or 1 <= int(step) <= high else f"step {step} is outside 1 to {high}"


def _number(text: str, low: int, words: Sequence[str]) -> int | None:
    if text.isdigit():
        return int(text)
    return words.index(text.lower()) + low if text.lower() in words else None
