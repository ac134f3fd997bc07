"""`sightline gate override` and `sightline audit`: what a person answers for by name."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.cli.registry import located
from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.evaluate.verdict import Check, Verdict

_DAY_S = 86_400.0


def override(verdict: str | Path, checks: Sequence[str], *, who: str, why: str, days: float, registry: str) -> dict[str, Any]:
    """The recorded override of some blocking checks of a verdict, with the checks that block still.

    Args:
        verdict: a committed verdict, a folder or ``s3://…``; it is verified.
        checks: names of checks that block, as the verdict has them.
        who: the person who answers for it.
        why: the reason, in three words or more.
        days: how long it holds, above 0 and at most 90.
        registry: a folder or ``s3://bucket/prefix``.

    Returns:
        The fields of the override, and ``still_blocking``: the names of the other blocking checks.

    Raises:
        UsageError: a name is not that of a check that blocks and that a person may override, or the override says too little or too much.
        DataError: the verdict or the registry is damaged.
    """
    from sightline.evaluate.verdict import Override, read_verified
    from sightline.registry.overrides import MAX_DAYS, record_override
    from sightline.store.cache import fetch_artifact

    if not 0 < days <= MAX_DAYS:
        raise UsageError(f"an override holds for at most {MAX_DAYS} days, not {days:g}", remedy=f"give --days between 0 and {MAX_DAYS}")
    with tempfile.TemporaryDirectory(prefix="sightline-verdict-") as scratch:
        judged = read_verified(fetch_artifact(str(verdict), Path(scratch)))
    names = tuple(dict.fromkeys(checks))
    _require_overridable(names, judged)
    now = time.time()
    made = Override(
        candidate=judged.candidate,
        champion=judged.champion,
        golden_digest=judged.golden_digest,
        checks=names,
        who=who.strip(),
        why=why.strip(),
        made_at=now,
        until=now + days * _DAY_S,
        verdict=judged.signature,
    )
    recorded = record_override(located(registry), made)
    still = [check.name for check in _blocking(judged) if check.name not in names]
    return {**recorded.model_dump(mode="json"), "still_blocking": still}


def describe_override(override: dict[str, Any]) -> str:
    """An override as lines for a terminal."""
    lines = [f"  overridden   {name}" for name in override["checks"]]
    lines += [f"  still blocks {name}" for name in override["still_blocking"]]
    lines.append(
        f"  by {override['who']} until {_utc(override['until'])} UTC, for model {override['candidate'][:12]} only: {override['why']}"
    )
    lines.append("  run the gate again: its verdict and the model card will name this override")
    return "\n".join(lines) + "\n"


def audit(generation: int, *, who: str, why: str, registry: str) -> dict[str, Any]:
    """The recorded audit of a generation, which is the anchor of later models from now on.

    Raises:
        UsageError: there is no such generation, or nobody or nothing was named.
        DataError: the registry is damaged.
    """
    from sightline.registry import audits

    return audits.audit(located(registry), generation, who, why).model_dump(mode="json")


def describe_audit(audit: dict[str, Any]) -> str:
    """An audit as lines for a terminal."""
    return (
        f"  generation {audit['generation']} (model {audit['digest'][:12]}) audited by {audit['who']} on {_utc(audit['audited_at'])} UTC: "
        f"{audit['why']}\n  later models are compared with it, besides the champion\n"
    )


def _blocking(verdict: Verdict) -> list[Check]:
    return [check for check in verdict.checks if check.required and check.outcome in {"fail", "inconclusive"}]


def _require_overridable(names: Sequence[str], verdict: Verdict) -> None:
    from sightline.evaluate.verdict import waivable

    blocking = _blocking(verdict)
    if not blocking:
        raise UsageError("no check of this verdict blocks, there is nothing to override", remedy="deploy the model")
    if not names:
        raise UsageError("an override names the checks it covers", remedy=f"give --check; there are: {_list(blocking)}")
    known = {check.name for check in blocking if waivable(check)}
    problems = [_problem(name, verdict, known) for name in names if name not in known]
    if problems:
        allowed = [check for check in blocking if check.name in known]
        remedy = f"use one of: {_list(allowed)}" if allowed else "change the model or the data; none of these checks can be overridden"
        raise UsageError(f"cannot override {'; '.join(problems)}", remedy=remedy)


def _problem(name: str, verdict: Verdict, known: set[str]) -> str:
    from sightline.evaluate.slices import near_matches

    check = next((check for check in verdict.checks if check.name == name), None)
    if check is None:
        close = near_matches(name, known)
        return f"'{name}': there is no such check" + (f" (did you mean {', '.join(close)}?)" if close else "")
    if check in _blocking(verdict):
        return f"'{name}': must-pass cases and invalid answers are never overridden"
    return f"'{name}': it does not block ({check.outcome})"


def _list(checks: Sequence[Check]) -> str:
    return ", ".join(f"'{check.name}'" for check in checks[:20])


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M")
