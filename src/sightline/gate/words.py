"""The verdict in words: one line for a terminal, one sentence for a product owner, one Markdown page."""

from collections.abc import Iterable, Sequence

from sightline.errors import DataError
from sightline.evaluate.verdict import SCORES, Check, CheckOutcome, Override, Verdict, VerdictOutcome
from sightline.gate.blocking import (
    blocking,
    blocking_checks,
    deciding_check,
    explained_by,
    findings_first,
    labels_needed,
    waived_checks,
)
from sightline.gate.values import (
    SLICE_KINDS,
    certain_loss,
    change_text,
    count_of,
    day,
    images_text,
    interval_text,
    is_difference,
    is_figure,
    listed,
    loss,
    points,
    probability,
    value_text,
)

# Their detail says it better than a difference of shares could.
_TOLD_BY_DETAIL = frozenset({"answers", "sentinel", "slice-parity", "agreement", "size", "latency", "memory", "cost"})
_REFERENCES = {"anchor": "the last audited model", "parity": "the trained model before compilation"}


def find_overall(checks: Iterable[Check]) -> Check | None:
    """The check over all golden images, None without one."""
    return next((check for check in checks if check.kind == "overall"), None)


def overall_check(checks: Sequence[Check]) -> Check:
    """The check over all golden images.

    Raises:
        DataError: there is none.
    """
    check = find_overall(checks)
    if check is None:
        raise DataError("the verdict has no check over all golden images", remedy="run the gate again")
    return check


def worst_slice(checks: Sequence[Check]) -> Check | None:
    """The judged slice with the largest certain loss, or without a champion the lowest value; None without any.

    A cross that fails with a part of it is left to that part, see ``explained_by``.
    """
    explained = explained_by(checks)
    judged = [check for check in checks if check.kind in {"slice", "critical-slice"} and check.required and check.estimate is not None]
    told = [check for check in judged if check.slice not in explained]
    return max(told, key=lambda check: (certain_loss(check), loss(check)), default=None)


def headline(checks: Sequence[Check], outcome: VerdictOutcome) -> str:
    """One line, e.g. "PASS · accuracy 0.912 vs 0.874 (+3.8 pts [+1.9, +5.7]) · worst slice blur=soft −0.4 pts"."""
    deciding = deciding_check(checks, outcome)
    if outcome != "pass":
        return f"{outcome.upper()} · {_finding(deciding) if deciding else 'no required check could be made'}"
    waived = waived_checks(checks)
    parts = [f"PASS by override of {listed([check.name for check in waived])}" if waived else "PASS"]
    overall, worst = find_overall(checks), worst_slice(checks)
    if overall is not None and overall.value is not None:
        parts.append(_overall_figures(overall))
    if worst is not None:
        value = change_text(worst) or f"{worst.value or 0.0:.3f}"
        parts.append(f"worst slice {worst.slice} {value}")
    return " · ".join(parts)


def _overall_figures(overall: Check) -> str:
    text = f"{overall.metric} {overall.value or 0.0:.3f}"
    if overall.reference is not None:
        return f"{text} vs {overall.reference:.3f} ({change_text(overall)} {interval_text(overall)})".replace(" )", ")")
    if not overall.interval:
        return f"{text}, no champion yet"
    low, high = overall.interval
    return f"{text} [{low:.3f}, {high:.3f}], at least {overall.margin or 0.0:g} needed, no champion yet"


def _finding(check: Check) -> str:
    wanted = f" · label about {check.labels_needed} more" if check.outcome == "inconclusive" and check.labels_needed else ""
    if check.estimate is None or check.unit != "share" or check.kind in _TOLD_BY_DETAIL:
        return f"{check.name}: {check.detail or check.outcome}{wanted if not check.detail else ''}"
    evidence = f"n={check.num_images}" + (f", {count_of(check.num_clusters, 'group')}" if 0 < check.num_clusters < check.num_images else "")
    if is_difference(check):
        # The name of a calibration check is its metric already.
        metric = "" if check.metric == "accuracy" or check.metric in check.name else f" {check.metric}"
        return f"{check.name}{metric} {change_text(check)} {interval_text(check)} ({evidence}){wanted}".replace("  ", " ")
    low, high = check.interval or (0.0, 1.0)
    limit = f", limit {check.margin:g}" if check.margin is not None else ""
    return f"{check.name} {check.metric} {check.estimate:.3f} [{low:.3f}, {high:.3f}]{limit} ({evidence}){wanted}"


def reason(
    checks: Sequence[Check],
    outcome: VerdictOutcome,
    *,
    overrides: Sequence[Override] = (),
    alpha: float = 0.05,
    outside: Sequence[str] | None = None,
) -> str:
    """One sentence for a product owner that names the deciding figure.

    Args:
        checks: all checks, waived ones as "waived".
        outcome: what follows from them.
        overrides: who waived what; named in the sentence.
        alpha: level of the bounds on a first model.
        outside: slices that fail on the images outside the deciding slice; None where that was not looked at.
    """
    if outcome == "pass":
        return _pass_reason(checks, overrides, alpha)
    deciding = deciding_check(checks, outcome)
    if deciding is None:
        return "No check could be made, so the new model does not ship."
    if outcome == "inconclusive":
        return _open_reason(deciding, checks)
    told = deciding.value is None or deciding.unit != "share" or deciding.kind in _TOLD_BY_DETAIL
    text = _told(deciding) if told else f"{_where(deciding)} {_comparison(deciding)}"
    return f"The new model must not ship: {text}{_others(deciding, checks, outside)}."


def _others(deciding: Check, checks: Sequence[Check], outside: Sequence[str] | None) -> str:
    """What else is shown to be bad, so that nobody repairs one slice and expects to pass."""
    overall = find_overall(checks)
    also = ""
    if deciding.slice and overall is not None and overall.outcome == "fail" and overall.required:
        also = f", and {_short(overall)} over all images"
    failing = [c for c in blocking_checks(checks) if c.outcome == "fail" and c is not deciding and not (also and c is overall)]
    if outside is not None and any(check.kind == "slice" for check in failing):
        without = f"on the images without {deciding.name}"
        if not outside:
            return f"{also}; {without} no slice is shown to be worse"
        return f"{also}; {without} {listed(list(outside))} {'fails' if len(outside) == 1 else 'fail'} too"
    explained = explained_by(checks)
    rest = [check.name for check in failing if check.slice not in explained]
    parts = count_of(len(failing) - len(rest), "part") if len(rest) < len(failing) else ""
    if not rest:
        return f"{also}; {parts} of {deciding.name} {'fails' if parts == '1 part' else 'fail'} too" if parts else also
    return f"{also}; {listed(rest)} {'fails' if len(rest) == 1 else 'fail'} too{f', and {parts} of these' if parts else ''}"


def _short(check: Check) -> str:
    return f"{points(check.estimate or 0.0)} points" if is_difference(check) else f"{value_text(check, check.value)}"


def _told(check: Check) -> str:
    return f"{check.name}: {check.detail}".rstrip(". ") if check.detail else check.name


def _where(check: Check) -> str:
    if check.slice:
        return f"on images with {check.slice}"
    if check.kind == "robustness":
        return f"on corrupted golden images ({check.name.removeprefix('robustness').lstrip(': ')})"
    return f"on the {count_of(check.num_images, 'golden image')}" if check.num_images else "on the golden images"


def _comparison(check: Check) -> str:
    """What the new model reaches, against whom or which limit."""
    value = value_text(check, check.value)
    if check.reference is None:
        return f"{_reaches(check, value, only=True)}{_limit(check)}{_evidence(check)}"
    other, reference = _REFERENCES.get(check.kind, "the current model"), value_text(check, check.reference)
    evidence = f"{points(check.estimate or 0.0)} points" + (f", {images_text(check)}" if check.slice or check.kind == "robustness" else "")
    joined = f" against {reference} for {other}" if check.lower_is_better else f", {other} {reference}"
    return f"{_reaches(check, value)}{joined} ({evidence})"


def _reaches(check: Check, value: str, *, only: bool = False) -> str:
    word = " only" if only and not check.lower_is_better else ""
    if check.metric == "accuracy" and not check.lower_is_better:
        return f"it is right{word} {value} of the time"
    if check.metric in SCORES:
        return f"it reaches{word} {check.metric} {value}"
    return f"its {check.metric} is{word} {value}"


def _limit(check: Check) -> str:
    if check.margin is None:
        return ""
    limit = value_text(check, check.margin)
    return f", at most {limit} is allowed" if check.lower_is_better else f", at least {limit} is needed"


def _evidence(check: Check) -> str:
    return f" ({images_text(check)})" if check.slice and check.num_images else ""


def _open_reason(check: Check, checks: Sequence[Check]) -> str:
    wanted = labels_needed(checks)
    if not check.labels_needed:
        return f"The new model does not ship yet: {_told(check)}."
    more = f"label about {count_of(check.labels_needed, 'more image')}" + (f" of {check.slice}" if check.slice else "")
    rest = len(wanted) - 1
    also = f" (and of {count_of(rest, 'other slice')})" if rest > 0 else ""
    whom = f"{_where(check)} it is not shown to be good enough"
    if is_difference(check) and check.kind == "anchor":
        whom += " beside the last audited model"
    return f"The new model does not ship yet: {whom}; {more}{also}."


def _pass_reason(checks: Sequence[Check], overrides: Sequence[Override], alpha: float) -> str:
    overall = find_overall(checks)
    if overall is None or overall.value is None:
        standing = "every required check passes" if not waived_checks(checks) else "every other required check passes"
    else:
        standing = f"{_where(overall).replace('on the', 'on')} {_pass_figures(overall, alpha)}{_slices_clause(checks)}"
    waived = waived_checks(checks)
    if not waived:
        return f"The new model may ship: {standing}."
    names = listed([check.name for check in waived])
    by = listed(sorted({f"{override.who} (until {day(override.until)})" for override in overrides})) or "a person"
    which = f"{names}, which {'does' if len(waived) == 1 else 'do'} not pass"
    return f"The new model may ship only by override: {by} waived {which}; {standing}."


def _pass_figures(overall: Check, alpha: float) -> str:
    figures = _reaches(overall, value_text(overall, overall.value))
    if overall.reference is not None:
        other, change = value_text(overall, overall.reference), points(overall.estimate or 0.0)
        return f"{figures}, the current model {other} ({change} points)"
    if overall.interval is None:
        return figures
    return f"{figures} (with {100 - alpha * 100:.5g} % confidence at least {value_text(overall, overall.interval[0])})"


def _slices_clause(checks: Sequence[Check]) -> str:
    """Only what the checks show: nothing about slices when none was judged, no "no slice" when one was waived, warnings by name."""
    judged = [check for check in checks if check.kind in {"slice", "critical-slice"} and check.required]
    doubtful = [check for check in checks if check.outcome == "warn" or (check.outcome == "fail" and not check.required)]
    clause = ""
    if judged:
        paired = any(is_difference(check) for check in judged)
        other = "other " if any(check.outcome in {"waived", "fail"} for check in judged) else ""
        clause = f", and no {other}slice is shown to be {'worse' if paired else 'below its limit'}"
    if doubtful:
        names = [check.slice if check.kind in SLICE_KINDS else check.name for check in doubtful]
        clause += f"; {count_of(len(doubtful), 'warning')}: {listed(names)}"
    return clause


_MARKS: dict[CheckOutcome, str] = {
    "pass": "✓ pass",
    "fail": "✗ **fail**",
    "inconclusive": "? **inconclusive**",
    "warn": "! warning",
    "info": "not judged",
    "waived": "~ **waived, does not pass**",
}
_MAX_ROWS = 8


def summary(verdict: Verdict) -> str:
    """A short Markdown page: overrides, the sentence, the checks, what to label, the errors that grew; names in it are escaped."""
    blocks = blocking(verdict.checks)
    by_override = " BY OVERRIDE" if verdict.outcome == "pass" and waived_checks(verdict.checks) else ""
    return "\n".join(
        [
            f"## Gate ({verdict.stage}): {verdict.outcome.upper()}{by_override}",
            "",
            *_override_lines(verdict),
            escaped(verdict.reason),
            "",
            "| check | outcome | images | new | reference | difference | detail |",
            "|---|---|---:|---:|---:|---|---|",
            *(_row(check) for check in (*blocks.open, *_others_shown(verdict.checks))),
            "",
            *([f"What blocks besides: {blocks.more}.", ""] if blocks.more else []),
            *_figure_lines(verdict.checks),
            *_label_lines(verdict.checks),
            *_case_lines(verdict),
            *_error_lines(verdict),
            f"Newly broken: {verdict.flips.num_broken}, newly fixed: {verdict.flips.num_fixed}. {attempt_sentence(verdict)}",
            "",
        ]
    )


def attempt_sentence(verdict: Verdict) -> str:
    """How often these golden images were looked at, and what this look may spend."""
    text = f"Look {verdict.looks} at these golden images, attempt {verdict.attempt} in the alpha ledger"
    risk = f"may let a model that is worse by the margin through with probability {probability(verdict.alpha)}"
    if verdict.champion == "none":
        return f"{text}: a first model below its limit gets through with probability {probability(verdict.alpha)} at most."
    if verdict.policy.get("alpha_spending") == "fixed":
        return f"{text}: each look {risk}, which adds up over looks."
    wanted = verdict.policy.get("alpha")
    total = f", so that it stays below {probability(wanted)} over all looks together" if isinstance(wanted, float) else ""
    return f"{text}: this one {risk}{total}."


def escaped(text: str) -> str:
    """Text from data as plain Markdown text: nothing in it may become markup, a link or another cell."""
    for character in "\\`*_[]|":
        text = text.replace(character, f"\\{character}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", " ").replace("\n", " ")


def _override_lines(verdict: Verdict) -> list[str]:
    lines = []
    for one in verdict.overrides:
        what = escaped(listed(one.checks, at_most=20))
        lines.append(f"> **Override** by {escaped(one.who)}, valid until {day(one.until)}: {what}. “{escaped(one.why)}”")
    if waived_checks(verdict.checks) and not lines:
        lines = ["> **Override**: checks were waived, and the verdict does not say by whom."]
    return [part for line in lines for part in (line, "")]


def _others_shown(checks: Sequence[Check]) -> list[Check]:
    """What does not block: all that is no slice, and of the slices those with a finding and the worst of the others."""
    slices = sorted((check for check in checks if check.kind == "slice" and check.estimate is not None), key=loss, reverse=True)
    found = [check for check in slices if check.outcome in {"warn", "waived"}]
    others = [check for check in slices if check.outcome == "pass"]
    shown = {"slice", "discovered-slice"}
    rest = [check for check in checks if check.kind not in shown and not is_figure(check)]
    kept = findings_first([*rest, *found[:_MAX_ROWS], *others[: max(0, 5 - len(found))]])
    return [check for check in kept if not (check.required and check.outcome in {"fail", "inconclusive"})]


def _figure_lines(checks: Sequence[Check]) -> list[str]:
    figures = [check for check in checks if is_figure(check)]
    said = [f"{escaped(check.name)} {value_text(check, check.value)} {_than(check)}".rstrip() for check in figures[: 2 * _MAX_ROWS]]
    said += [f"{len(figures) - len(said)} more"] if len(figures) > len(said) else []
    return [f"More figures, without a test: {' · '.join(said)}.", ""] if said else []


def _than(check: Check) -> str:
    return f"(current {value_text(check, check.reference)}, {change_text(check)})" if is_difference(check) else ""


def _row(check: Check) -> str:
    mark = _MARKS[check.outcome] + ("" if check.required or check.outcome in {"info", "waived"} else " (for information)")
    change = f"{change_text(check)} {interval_text(check)}".strip()
    images = str(check.num_images or "")
    cells = (escaped(check.name), mark, images, value_text(check, check.value), value_text(check, check.reference), change)
    return f"| {' | '.join(cells)} | {escaped(check.detail)} |"


def _label_lines(checks: Sequence[Check]) -> list[str]:
    wanted = labels_needed(checks)
    lines = [f"* {escaped(where)}: about {count_of(number, 'more image')}" for where, number in wanted[:20]]
    lines += [f"* … and {count_of(len(wanted) - 20, 'other slice')}"] if len(wanted) > 20 else []
    return ["Labels that would decide it (an image counts for each slice that it is in):", "", *lines, ""] if lines else []


def _case_lines(verdict: Verdict) -> list[str]:
    wrong = [case for case in verdict.cases if case.given != case.wanted]
    lines = [
        f"* {escaped(case.location)}: {escaped(case.given) or 'no valid answer'} instead of {escaped(case.wanted)}" for case in wrong[:10]
    ]
    title = f"Must-pass cases: {len(wrong)} of {len(verdict.cases)} wrong."
    return [title, "", *lines, ""] if lines else []


def _error_lines(verdict: Verdict) -> list[str]:
    grown = [error for error in verdict.errors if error.reference is not None and error.candidate > error.reference]
    grown.sort(key=lambda error: error.candidate - (error.reference or 0), reverse=True)
    lines = [f"* {escaped(error.name)}: {error.reference} → {error.candidate}" for error in grown[:5]]
    return ["Errors that grew (current → new model):", "", *lines, ""] if lines else []
