"""The verdict in words: one line for a terminal, one sentence for a product owner."""

from collections.abc import Iterable, Sequence

from sightline.evaluate.verdict import Check, Verdict, VerdictOutcome


def points(share: float, *, digits: int = 1) -> str:
    """A difference of shares in percentage points with its sign, e.g. "+3.8" or "−0.4"; zero has no sign."""
    text = f"{abs(share) * 100:.{digits}f}"
    return text if not float(text) else f"{'+' if share > 0 else '−'}{text}"


def percent(share: float) -> str:
    """A share as a percentage with one digit, e.g. "91.2 %"."""
    return f"{share * 100:.1f} %"


def interval_points(check: Check) -> str:
    """The interval of a paired check, e.g. "[+1.9, +5.7]"; empty without one."""
    return f"[{points(check.interval[0])}, {points(check.interval[1])}]" if check.interval else ""


def overall_check(checks: Sequence[Check]) -> Check:
    """The check over all golden images."""
    return next(check for check in checks if check.kind == "overall")


def worst_slice(checks: Sequence[Check]) -> Check | None:
    """The judged slice with the lowest estimate: the largest loss, or without a champion the lowest accuracy; None without any."""
    judged = [check for check in checks if check.kind in {"slice", "critical-slice"} and check.required and check.estimate is not None]
    return min(judged, key=lambda check: (check.estimate or 0.0, check.p_value or 0.0), default=None)


def deciding_check(checks: Sequence[Check], outcome: VerdictOutcome) -> Check | None:
    """The check that explains a verdict other than pass: slices before overall figures, the largest loss first."""
    if outcome == "pass":
        return None
    found = [check for check in checks if check.required and check.outcome == outcome]
    # A broken input or sentinel explains everything behind it; then the most specific place.
    order = {"answers": 0, "sentinel": 1, "critical-slice": 2, "slice": 2, "overall": 3, "parity": 4}
    return min(found, key=lambda check: (order.get(check.kind, 5), check.estimate or 0.0), default=None)


def findings_first(checks: Iterable[Check]) -> list[Check]:
    """The checks with those that block in front, otherwise in their order."""
    return sorted(checks, key=lambda check: {"fail": 0, "inconclusive": 1}.get(check.outcome, 2) if check.required else 2)


def headline(checks: Sequence[Check], outcome: VerdictOutcome) -> str:
    """One line, e.g. "PASS · accuracy 0.912 vs 0.874 (+3.8 pts [+1.9, +5.7]) · worst slice blur=soft −0.4 pts"."""
    deciding = deciding_check(checks, outcome)
    if deciding is not None:
        return f"{outcome.upper()} · {_finding(deciding)}"
    overall, worst = overall_check(checks), worst_slice(checks)
    parts = [f"PASS · accuracy {overall.value or 0.0:.3f}"]
    if overall.reference is not None:
        parts[0] += f" vs {overall.reference:.3f} ({points(overall.estimate or 0.0)} pts {interval_points(overall)})"
    elif overall.interval:
        parts[0] += f" [{overall.interval[0]:.3f}, {overall.interval[1]:.3f}], at least {overall.margin or 0.0:g} needed, no champion yet"
    if worst is not None:
        value = f"{points(worst.estimate or 0.0)} pts" if worst.reference is not None else f"{worst.value or 0.0:.3f}"
        parts.append(f"worst slice {worst.slice} {value}")
    return " · ".join(parts)


def _finding(check: Check) -> str:
    wanted = f" · label about {check.labels_needed} more" if check.outcome == "inconclusive" and check.labels_needed else ""
    if check.estimate is None or check.kind in {"size", "latency", "answers", "sentinel"}:
        return f"{check.name}: {check.detail}"
    if check.reference is not None:
        return f"{check.name} {points(check.estimate)} pts {interval_points(check)} (n={check.num_images}){wanted}"
    low, high = check.interval or (0.0, 1.0)
    return (
        f"{check.name} accuracy {check.estimate:.3f} [{low:.3f}, {high:.3f}], limit {check.margin or 0.0:g} (n={check.num_images}){wanted}"
    )


def reason(checks: Sequence[Check], outcome: VerdictOutcome) -> str:
    """One sentence for a product owner that names the deciding figure."""
    deciding = deciding_check(checks, outcome)
    if outcome == "pass" or deciding is None:
        return _pass_reason(checks) if outcome == "pass" else "No check could be made, so the new model does not ship."
    where = f"on images with {deciding.slice}" if deciding.slice else f"on the {deciding.num_images} golden images"
    if outcome == "inconclusive":
        return _open_reason(deciding, where)
    if deciding.value is None or deciding.kind in {"size", "latency"}:
        return f"The new model must not ship: {deciding.name}: {deciding.detail}."
    if deciding.reference is None:
        needed = f"at least {percent(deciding.margin or 0.0)} are needed"
        return f"The new model must not ship: {where} it is right only {percent(deciding.value)} of the time, {needed}."
    other = "the trained model before compilation" if deciding.kind == "parity" else "the current model"
    return (
        f"The new model must not ship: {where} it is right {percent(deciding.value)} of the time, {other} {percent(deciding.reference)} "
        f"({points(deciding.estimate or 0.0)} points, {deciding.num_images} images){_overall_loss(checks) if deciding.slice else ''}."
    )


def _overall_loss(checks: Sequence[Check]) -> str:
    overall = overall_check(checks)
    return f", and {points(overall.estimate or 0.0)} points over all images" if overall.outcome == "fail" else ""


def _pass_reason(checks: Sequence[Check]) -> str:
    overall = overall_check(checks)
    right = f"on {overall.num_images} golden images it is right {percent(overall.value or 0.0)} of the time"
    if overall.reference is None:
        low = f"with 95 % confidence at least {percent((overall.interval or (0.0, 1.0))[0])}" if overall.interval else ""
        return f"The new model may ship: {right} ({low}), and no slice is shown to be below its limit."
    return (
        f"The new model may ship: {right}, the current model {percent(overall.reference)} "
        f"({points(overall.estimate or 0.0)} points), and no slice is shown to be worse."
    )


def _open_reason(check: Check, where: str) -> str:
    if check.kind in {"overall", "critical-slice"} and check.labels_needed:
        images = f"label about {check.labels_needed} more images{f' of {check.slice}' if check.slice else ''}"
        return f"The new model does not ship yet: it is not shown to be good enough {where}; {images}."
    return f"The new model does not ship yet: {check.name}: {check.detail}."


def summary(verdict: Verdict) -> str:
    """A short Markdown page: the sentence, the required checks, the worst slices."""
    mark = {"pass": "✓ pass", "fail": "✗ **fail**", "inconclusive": "? inconclusive", "warn": "! warn", "info": "info"}
    shown = [check for check in verdict.checks if check.kind != "slice"]
    slices = sorted((c for c in verdict.checks if c.kind == "slice" and c.estimate is not None), key=lambda check: check.estimate or 0.0)
    failing = [check for check in slices if check.outcome in {"fail", "warn"}]
    shown = findings_first(shown + failing + [check for check in slices if check not in failing][: max(0, 5 - len(failing))])
    rows = [
        f"| {_cell(check.name)} | {mark[check.outcome]} | {check.num_images or ''} | {_value(check)} | {_cell(check.detail)} |"
        for check in shown
    ]
    return "\n".join(
        [
            f"## Gate ({verdict.stage}): {verdict.outcome.upper()}",
            "",
            verdict.reason,
            "",
            "| check | outcome | images | value | detail |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Looks at this golden set: {verdict.looks}. Newly broken: {verdict.flips.num_broken}, newly fixed: {verdict.flips.num_fixed}.",
            "",
        ]
    )


def _value(check: Check) -> str:
    if check.estimate is None:
        return ""
    if check.kind in {"size", "latency"}:
        return f"{check.estimate:.2f} {'MB' if check.kind == 'size' else 'ms'}"
    if check.reference is not None:
        return f"{points(check.estimate)} pts {interval_points(check)}"
    return percent(check.estimate)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
