"""The verdict in one or two sentences for a product owner."""

from collections.abc import Sequence

from sightline.report import figures
from sightline.report.evidence import RunEvidence
from sightline.report.judge import Judgement
from sightline.report.values import change_text, interval_text, value_text
from sightline.report.views import CheckView, DeploymentView, DriftView, OverrideView, VerdictView

WORDS = {"promoted": "Promoted", "rejected": "Rejected", "rolled-back": "Rolled back", "monitored": "Monitored", "failed": "Failed"}
_DECISIONS = {
    "wait": "too few images were served to say anything about drift",
    "ignore": "no drift that matters, the champion stays",
    "label": "some signals drifted: label the newest images first",
    "retrain": "the served images drifted: retrain",
}


def headline(judgement: Judgement, run: RunEvidence | None, generation: int | None) -> str:
    """What happened and on what evidence.

    Args:
        judgement: how the run ended.
        run: the run it is about; None when there is none.
        generation: the generation that this run made champion, if it is known.
    """
    if judgement.status == "failed" or run is None:
        return f"Failed: {closed(judgement.reason)} {_after_failure(run)}".strip()
    verdict = last_verdict(run)
    if judgement.status == "promoted":
        return " ".join([f"{_replaces(verdict, generation)}{_by_override(run)}.", _evidence(run)])
    if judgement.status == "rejected":
        return f"Rejected: {_keeps(verdict)}. {closed(judgement.reason)}"
    if judgement.status == "rolled-back":
        return f"Rolled back: the canary was withdrawn and {_keeps(verdict)}. {closed(judgement.reason)}"
    step = run.step("monitor")
    drift = step.read("drift.json", DriftView) if step else None
    decision = (drift.decision if drift else "") or (step.record.outcome if step else "")
    return f"Monitored: {_DECISIONS.get(decision, decision or 'no decision was recorded')}. {closed(drift.reason if drift else '')}".strip()


def last_verdict(run: RunEvidence) -> VerdictView | None:
    """The verdict on what ships: of the compiled model when the run got so far, else of the trained one."""
    return next(iter(_verdicts(run)), None)


def _verdicts(run: RunEvidence) -> list[VerdictView]:
    """Every verdict of the run that can be read, the one on what ships first."""
    steps = [step for name in ("gate-compiled", "gate-trained") if (step := run.step(name)) is not None]
    return [verdict for step in steps if (verdict := step.read("verdict.json", VerdictView)) is not None]


def waived_names(run: RunEvidence) -> list[str]:
    """Checks that did not pass and were waived by a person, at either gate; each once."""
    return list(dict.fromkeys(check.name for verdict in _verdicts(run) for check in verdict.waived))


def confidence(verdict: VerdictView) -> str:
    """The level of the gate's two-sided intervals, e.g. "90 % " for one-sided tests at 5 %; empty when it is not recorded."""
    alpha = verdict.alpha
    if alpha is None or not 0 < alpha < 0.5:
        return ""
    # Late looks at a golden set have levels such as 99.94 %: two digits of what is left out are enough.
    level, outside = 100 - 200 * alpha, 200 * alpha
    return f"{level:.0f}\u202f% " if outside >= 1 else f"{100 - float(f'{outside:.1g}'):.5g}\u202f% "


def closed(text: str) -> str:
    """The text as a sentence: first letter upper case unless it is a name like "light=night", a full stop at the end; empty stays empty."""
    clean = text.strip().rstrip(".")
    if not clean:
        return ""
    start = clean[0] if "=" in clean.split(maxsplit=1)[0] else clean[0].upper()
    return f"{start}{clean[1:]}{'' if clean[-1] in '!?…' else '.'}"


def _after_failure(run: RunEvidence | None) -> str:
    if run is None or any(outcome.kind == "promoted" for outcome in run.outcomes):
        return ""
    return "Nothing was promoted by this run."


def _replaces(verdict: VerdictView | None, generation: int | None) -> str:
    name = f"generation {generation}" if generation else "the candidate"
    if verdict is not None and verdict.champion_generation:
        return f"Promoted: {name} replaces generation {verdict.champion_generation}"
    return f"Promoted: {name} is the first champion" if verdict is not None else f"Promoted: {name} is the new champion"


def _by_override(run: RunEvidence) -> str:
    """Who let it through which checks; empty when every check passed on its own."""
    names = waived_names(run)
    if not names:
        return ""
    overrides = [one for verdict in _verdicts(run) for one in verdict.overrides if set(one.checks) & set(names)]
    found = dict.fromkeys(_signed_by(one) for one in overrides)
    who = _listed(list(found)) if found else "a person whom the verdict does not name"
    return f", only by override: {who} waived {_listed(_in_line(names))}, which {'does' if len(names) == 1 else 'do'} not pass"


def _signed_by(override: OverrideView) -> str:
    until = f" (until {figures.moment(override.until)})" if override.until else ""
    return f"{_in_line([override.who])[0] or 'somebody unnamed'}{until}"


def _in_line(names: Sequence[str]) -> list[str]:
    """Names that do not end the sentence: the page splits it at the first full stop before a space."""
    return [" ".join(name.split()).replace(". ", ".\u00a0") for name in names]


def _keeps(verdict: VerdictView | None) -> str:
    if verdict is None:
        return "nothing changes in production"
    return f"generation {verdict.champion_generation} keeps serving" if verdict.champion_generation else "there is still no champion"


def _evidence(run: RunEvidence) -> str:
    verdict = last_verdict(run)
    parts = [_overall(verdict), _slices(verdict)] if verdict else []
    parts = [part for part in (*parts, _canary(run)) if part]
    return closed("; ".join(parts)) or "The numbers behind it are not available any more."


def _overall(verdict: VerdictView) -> str:
    overall = verdict.overall
    if overall is None or overall.value is None:
        return ""
    images = f" on {figures.count(verdict.num_images)} golden images" if verdict.num_images else ""
    return f"overall {verdict.metric or 'result'} {value_text(overall, overall.value)}{_support(overall, verdict)}{images}"


def _support(overall: CheckView, verdict: VerdictView) -> str:
    """What the figure is compared with, in brackets."""
    if overall.is_paired:
        bounds = f", {confidence(verdict)}interval {interval_text(overall)}" if overall.interval else ""
        return f" ({change_text(overall)}{bounds})"
    if overall.reference is not None or overall.low is None:
        return ""
    # An open check has a lower bound too, which is below its limit.
    known = f"at least {value_text(overall, overall.low)}"
    return f" (shown to be {known})" if overall.outcome == "pass" else f" ({known} is shown, which does not pass)"


def _slices(verdict: VerdictView) -> str:
    """Only what the checks show: nothing about slices that were not judged; waived ones are in the first sentence."""
    worse = [check.slice or check.name for check in verdict.slices if check.outcome in {"fail", "warn"}]
    if len(worse) > 3:
        return f"{len(worse)} slices need a look"
    if worse:
        return f"{_listed(worse)} {'needs' if len(worse) == 1 else 'need'} a look"
    if not any(check.required and check.outcome == "pass" for check in verdict.slices):
        return ""
    other = "other " if any(check.outcome == "waived" for check in verdict.slices) else ""
    return f"no {other}slice is shown to be {'worse' if verdict.champion_generation else 'below its limit'}"


def _canary(run: RunEvidence) -> str:
    step = run.step("deploy")
    deployment = step.read("deployment.json", DeploymentView) if step else None
    if deployment is None or deployment.requests is None:
        return ""
    word = "canary healthy" if deployment.outcome == "promoted" else f"canary {deployment.outcome}"
    return f"{word} over {figures.count(deployment.requests)} requests"


def _listed(names: Sequence[str], at_most: int = 4) -> str:
    shown = list(names) if len(names) <= at_most else [*names[: at_most - 1], f"{len(names) - at_most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
