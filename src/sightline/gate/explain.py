"""A committed verdict explained in a terminal: the sentence, what blocks, what to label, where it loses, what it gets wrong now."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import DataError
from sightline.evaluate.verdict import FILE, KIND, Case, Check, Confusion, Frozen, Override, Verdict, VerdictOutcome, read_verified
from sightline.gate.blocking import blocking, blocking_checks, labels_needed, waived_checks
from sightline.gate.drawings import reach_of
from sightline.gate.gallery import worst_slices_first
from sightline.gate.values import change_text, count_of, day, explains, images_text, interval_text, is_difference, listed, value_text
from sightline.gate.words import attempt_sentence, headline
from sightline.store.artifact import open_artifact

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS, FLIPS = "predictions.parquet", "flips.parquet"
MAX_IMAGES, MAX_SLICES, MAX_ERRORS = 12, 8, 8
_BAR_CELLS = 25
# Flips of a detector or a segmenter that are good news.
_GOOD = frozenset({"found", "fixed", "no longer spurious", "better"})
_MARKS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "warn": "!", "info": "·", "waived": "~"}


class Wanted(Frozen):
    """What to label: further images of a slice, or of any image."""

    slice: str
    num_images: int


class BrokenImage(Frozen):
    """A golden image that the candidate newly gets wrong.

    Attributes:
        image: its file, or the start of its sample id where files were not recorded.
        candidate: the candidate's class, empty for no valid answer and for other tasks; ``reference`` likewise.
        kind: what happened, for a detector or a segmenter, e.g. "missed"; empty for a classifier.
    """

    image: str
    label: str
    reference: str = ""
    candidate: str = ""
    confidence: float | None = None
    slice: str = ""
    kind: str = ""
    detail: str = ""


class Explanation(Frozen):
    """Everything that ``describe`` says, as fields.

    Attributes:
        by_override: it passes only because a person waived checks.
        blocking: the required checks that fail or stay open, failures first.
        waived: checks that do not pass on their own.
        labels_needed: what would decide the open checks.
        slices: judged slices, worst first, at most 8.
        discovered: weak slices that nobody declared; for information.
        errors: kinds of errors that grew most, at most 8.
        wrong_cases: must-pass cases with a wrong answer.
        images: the first newly broken images, or a first model's mistakes; of ``num_images_broken``.
        folder: what the paths of all golden images, as far as they were recorded, begin with; ends with a slash or is empty.
        has_reference: there was a model to compare with.
        attempt: one sentence on looks and the alpha ledger.
    """

    outcome: VerdictOutcome
    by_override: bool
    stage: str
    task: str
    metric: str
    sentence: str
    headline: str
    num_golden: int
    has_reference: bool
    blocking: tuple[Check, ...]
    waived: tuple[Check, ...]
    overrides: tuple[Override, ...]
    labels_needed: tuple[Wanted, ...]
    slices: tuple[Check, ...]
    discovered: tuple[Check, ...]
    errors: tuple[Confusion, ...]
    wrong_cases: tuple[Case, ...]
    images: tuple[BrokenImage, ...]
    num_images_broken: int
    folder: str
    attempt: str


def explain(folder: Path) -> Explanation:
    """The explanation of the verdict in ``folder``, of any task.

    Args:
        folder: a committed verdict folder, or its verdict.json.

    Raises:
        DataError: it is not a whole, unaltered verdict.
    """
    place = folder.parent if folder.name == FILE else folder
    verdict = read_verified(place)
    images, files = _broken_images(place, verdict)
    waived = tuple(waived_checks(verdict.checks))
    slices = worst_slices_first(verdict.checks)
    judged = [check for check in slices if check.kind != "discovered-slice" and check.outcome != "info"]
    return Explanation(
        outcome=verdict.outcome,
        by_override=verdict.outcome == "pass" and bool(waived),
        stage=verdict.stage,
        task=verdict.task,
        metric=verdict.metric,
        sentence=verdict.reason,
        headline=headline(verdict.checks, verdict.outcome),
        num_golden=verdict.num_images,
        has_reference=any(is_difference(check) for check in verdict.checks if check.kind == "overall"),
        blocking=tuple(blocking_checks(verdict.checks)),
        waived=waived,
        overrides=verdict.overrides,
        labels_needed=tuple(Wanted(slice=name, num_images=number) for name, number in labels_needed(verdict.checks)),
        slices=tuple(judged[:MAX_SLICES]),
        discovered=tuple(check for check in slices if check.kind == "discovered-slice"),
        errors=_grown(verdict.errors),
        wrong_cases=tuple(case for case in verdict.cases if case.given != case.wanted),
        images=tuple(images[:MAX_IMAGES]),
        num_images_broken=max(len(images), verdict.flips.num_broken),
        folder=_common_folder(files),
        attempt=attempt_sentence(verdict),
    )


def _grown(errors: Sequence[Confusion]) -> tuple[Confusion, ...]:
    """The kinds of errors that grew; of a first model the most frequent."""
    grown = [error for error in errors if error.candidate > (error.reference or 0)]
    return tuple(sorted(grown, key=lambda error: -(error.candidate - (error.reference or 0)))[:MAX_ERRORS])


def _broken_images(folder: Path, verdict: Verdict) -> tuple[list[BrokenImage], list[str]]:
    """From the file that the task left, worst first, and the paths of all images in it; empty when it left none."""
    artifact = open_artifact(folder, KIND)
    names = {entry.path for entry in artifact.manifest.files}
    if FLIPS in names:
        table = _table(artifact.file(FLIPS), ("location", "kind", "label"))
        return _from_flips(table), _files(table)
    if PREDICTIONS in names and verdict.task == "classification":
        table = _table(artifact.file(PREDICTIONS), ("sample_id", "label", "candidate", "champion"))
        return _from_predictions(table), _files(table)
    return [], []


def _files(table: pd.DataFrame) -> list[str]:
    return [_text(value) for value in table["location"]] if "location" in table.columns else []


def _common_folder(files: Sequence[str]) -> str:
    if not files:
        return ""
    # What the first and the last in sorted order begin with, all do.
    first, last = min(files).split("/")[:-1], max(files).split("/")[:-1]
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{name}/" for name, _ in shared)


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy="run the gate again") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}", remedy="run the gate again")
    return table


def _from_predictions(table: pd.DataFrame) -> list[BrokenImage]:
    wrong = (table["candidate"] != table["label"]).fillna(value=True)
    if table["champion"].notna().any():
        wrong &= (table["champion"] == table["label"]).fillna(value=False)
    found = [
        BrokenImage(
            image=_text(row.get("location")) or _text(row["sample_id"])[:12],
            label=_text(row["label"]),
            reference=_text(row["champion"]),
            candidate=_text(row["candidate"]),
            confidence=_share(row.get("candidate_confidence")),
        )
        for row in table[wrong.astype(bool)].to_dict("records")
    ]
    return sorted(found, key=lambda image: -(image.confidence or 0.0))


def _from_flips(table: pd.DataFrame) -> list[BrokenImage]:
    rows = [row for row in table.to_dict("records") if _text(row["kind"]) not in _GOOD]
    return [
        BrokenImage(
            image=_text(row["location"]),
            label=_text(row["label"]),
            slice=_text(row.get("slice")),
            kind=_text(row["kind"]),
            detail=_text(row.get("detail")),
        )
        for row in rows
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _share(value: object) -> float | None:
    return float(value) if isinstance(value, float) and value == value else None  # noqa: PLR0124 - NaN differs from itself


def describe(explanation: Explanation, width: int = 100) -> str:
    """The explanation as lines for a terminal of so many columns; control characters in names are shown, not obeyed."""
    columns = max(width, 60)
    status = "PASS BY OVERRIDE" if explanation.by_override else explanation.outcome.upper()
    mark = "~" if explanation.by_override else _MARKS[explanation.outcome]
    lines = [f"{mark} {status} · gate ({explanation.stage}) · {explanation.task} · {count_of(explanation.num_golden, 'golden image')}"]
    lines += ["", *_wrapped(explanation.sentence, columns)]
    for override in explanation.overrides:
        text = f"Override by {override.who} until {day(override.until)}, for {listed(override.checks, at_most=10)}: “{override.why}”"
        lines += ["", *_wrapped(text, columns)]
    lines += _section("What blocks", _blocking_lines(explanation.blocking, columns))
    lines += _section("Waived; these do not pass", [line for check in explanation.waived for line in _check_lines(check, columns)])
    wanted = [f"  {one.num_images:>6}  {one.slice}" for one in explanation.labels_needed]
    lines += _section("Label about so many further images", wanted)
    lines += _section("Slices, worst first", _slice_lines(explanation.slices, columns))
    lines += _section("Weak slices that nobody declared", _discovered_lines(explanation, columns))
    cases = [_case_line(case, explanation.folder) for case in explanation.wrong_cases]
    lines += _section("Must-pass cases that are wrong", cases)
    title = "Errors that grew, current → new" if explanation.has_reference else "Most frequent errors"
    lines += _section(title, [_error_line(error) for error in explanation.errors])
    images = [line for image in explanation.images for line in _image_lines(image, columns, explanation.folder)]
    lines += _section(_images_title(explanation), images)
    lines += ["", *_wrapped(explanation.attempt, columns)]
    return "\n".join(_printable(line) for line in lines) + "\n"


def _images_title(explanation: Explanation) -> str:
    shown, total = len(explanation.images), explanation.num_images_broken
    what = "Newly broken" if explanation.has_reference else "Mistakes"
    where = f", in {explanation.folder}" if explanation.folder else ""
    return f"{what} ({total if shown == total else f'the first {shown} of {total}'}){where}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), columns, break_long_words=False) or [""]


def _blocking_lines(checks: Sequence[Check], columns: int) -> list[str]:
    blocks = blocking(checks)
    lines = [line for check in blocks.open for line in _check_lines(check, columns)]
    return [*lines, f"  … and {blocks.more}"] if blocks.more else lines


def _discovered_lines(explanation: Explanation, columns: int) -> list[str]:
    told = [check.model_copy(update={"detail": explains(check, explanation.num_images_broken)}) for check in explanation.discovered]
    return [line for check in told for line in _check_lines(check, columns)]


def _case_line(case: Case, folder: str) -> str:
    return f"  {case.location.removeprefix(folder)}: {case.given or 'no valid answer'} instead of {case.wanted}"


def _check_lines(check: Check, columns: int) -> list[str]:
    numbers = [value_text(check, check.value)]
    if is_difference(check):
        numbers[0] += f" against {value_text(check, check.reference)}"
        numbers.append(f"{change_text(check)} {interval_text(check)}".strip())
    elif check.interval is not None:
        numbers.append(interval_text(check))
    numbers.append(images_text(check) if check.num_images else "")
    metric = f"{check.metric} " if check.metric not in {"accuracy", ""} and check.unit == "share" and check.value is not None else ""
    first = f"  {_MARKS[check.outcome]} {check.name}: {metric}{' · '.join(part for part in numbers if part)}".rstrip(": ")
    whole = f"{first} · {check.detail}"
    if check.detail and len(whole) <= columns:
        return [whole]
    lines = textwrap.wrap(first, columns, subsequent_indent="    ", break_long_words=False, drop_whitespace=True) or [first]
    lines[0] = f"  {lines[0].lstrip()}"
    detail = textwrap.wrap(check.detail, columns - 4, break_long_words=False)
    return [*lines, *(f"    {line}" for line in detail)]


def _groups(check: Check) -> str:
    return f" in {count_of(check.num_clusters, 'group')}" if 0 < check.num_clusters < check.num_images else ""


def _slice_lines(slices: Sequence[Check], columns: int) -> list[str]:
    if not slices:
        return []
    reach = reach_of(slices)
    paired = any(is_difference(check) for check in slices)
    name_width = min(max(len(check.slice) for check in slices), max(columns - _BAR_CELLS - 34, 16))
    start, end = (f"−{reach * 100:.0f}", f"+{reach * 100:.0f} pts") if paired else ("0 %", "100 %")
    axis = f"{start}{'0' if paired else '':^{_BAR_CELLS - 2 * len(start)}}{end}" if paired else f"{start:<{_BAR_CELLS - 5}}{end}"
    drawn = any(check.interval is not None for check in slices)
    lines = [f"    {'':<{name_width}}  {axis}"] if drawn else []
    for check in slices:
        name, figure = _cut(check.slice, name_width), change_text(check) or value_text(check, check.value)
        drawing = f"  {_bar(check, reach)}" if drawn else ""
        lines.append(f"  {_MARKS[check.outcome]} {name:<{name_width}}{drawing}  {figure:>10}  n={check.num_images}{_groups(check)}")
    return lines


def _bar(check: Check, reach: float) -> str:
    """The interval in 25 characters: ━ interval, ● estimate, │ no difference, ┆ the limit."""
    cells = ["·"] * _BAR_CELLS
    if check.interval is None or check.estimate is None:
        return " " * _BAR_CELLS
    start, end = (-reach, reach) if is_difference(check) else (0.0, 1.0)

    def place(value: float) -> int:
        return min(_BAR_CELLS - 1, max(0, round((value - start) / (end - start) * (_BAR_CELLS - 1))))

    if is_difference(check):
        cells[place(0.0)] = "│"
    for cell in range(place(check.interval[0]), place(check.interval[1]) + 1):
        cells[cell] = "┿" if cells[cell] == "│" else "━"
    if check.margin is not None:
        cells[place(check.margin if not is_difference(check) or check.lower_is_better else -check.margin)] = "┆"
    cells[place(check.estimate)] = "●"
    return "".join(cells)


def _error_line(error: Confusion) -> str:
    if error.reference is None:
        return f"  {error.candidate:>5}  {error.name}"
    return f"  {error.reference:>5} → {error.candidate:<5} {error.name}"


def _image_lines(image: BrokenImage, columns: int, folder: str) -> list[str]:
    said = [image.kind, image.label, image.slice, image.detail]
    if not image.kind and image.candidate:
        sure = "" if image.confidence is None else f" ({image.confidence * 100:.0f} % sure)"
        said[1] = f"{image.label} taken for {image.candidate}{sure}"
    elif not image.kind:
        said[1] = f"no valid answer for {image.label}"
    text = " · ".join(part for part in said if part)
    whole = f"{image.image.removeprefix(folder)}  {text}"
    return textwrap.wrap(whole, columns - 2, initial_indent="  ", subsequent_indent="      ", break_long_words=False)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in line)
