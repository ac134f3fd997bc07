"""What blocks a candidate, in the order in which a person should read it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sightline.evaluate.slices import CROSS
from sightline.evaluate.verdict import Check, VerdictOutcome
from sightline.gate.values import certain_loss, loss

# A broken input or must-pass case explains everything behind it; then the most specific place, and parts of failing slices behind them.
_DECIDING = {"answers": 0, "sentinel": 1, "critical-slice": 2, "slice": 2, "overall": 4, "anchor": 5, "parity": 6}
_EXPLAINED, _LAST = 3, 7
MAX_OPEN = 8


def explained_by(checks: Iterable[Check]) -> dict[str, str]:
    """The failing crosses that are part of a failing slice, with that slice, e.g. {"class=Free & exp=6": "class=Free"}.

    They are told after all other slices: what repairs the slice repairs them too. A critical slice was asked for by name and is never
    among them. Of two failing slices that a cross is part of, the one with the larger certain loss explains it.
    """
    failing = [check for check in checks if check.kind in {"slice", "critical-slice"} and check.required and check.outcome == "fail"]
    losses = {check.slice: certain_loss(check) for check in failing}
    found = {}
    for check in failing:
        wholes = [name for name in _wholes(check.slice) if name in losses] if check.kind == "slice" else []
        if wholes:
            found[check.slice] = max(wholes, key=lambda name: losses[name])
    return found


def _wholes(cross: str) -> list[str]:
    """The two slices that a cross is part of, for every place where its name can be cut: a value may contain the sign that joins them."""
    pieces = cross.split(CROSS)
    cuts = [(CROSS.join(pieces[:cut]), CROSS.join(pieces[cut:])) for cut in range(1, len(pieces))]
    return [name for cut in cuts if all("=" in side for side in cut) for name in cut]


def blocking_checks(checks: Iterable[Check]) -> list[Check]:
    """The required checks that fail or stay open, failures first, in each the check that explains most first."""
    found = [check for check in checks if check.required and check.outcome in {"fail", "inconclusive"}]
    explained = explained_by(found)

    def place(check: Check) -> tuple[bool, int, float, float]:
        rank = _EXPLAINED if check.slice in explained else _DECIDING.get(check.kind, _LAST)
        return check.outcome != "fail", rank, -certain_loss(check), -loss(check)

    return sorted(found, key=place)


@dataclass(frozen=True)
class Blocking:
    """What blocks, as far as a person reads it at once (``open``), and the rest; ``more`` tells of the rest, empty without any."""

    open: tuple[Check, ...]
    folded: tuple[Check, ...]
    more: str


def blocking(checks: Iterable[Check]) -> Blocking:
    """At most 8 of the checks that block, in their order: the deciding one, all that are no slices, and the worst slices.

    Crosses that a failing slice explains are always among the rest.
    """
    found = blocking_checks(checks)
    explained = explained_by(found)
    ranked = [index for index, check in enumerate(found) if check.slice not in explained]
    kept = set(sorted(ranked, key=lambda index: (index > 0, bool(found[index].slice)))[:MAX_OPEN])
    folded = tuple(check for index, check in enumerate(found) if index not in kept)
    more = _more(len(folded), sum(check.slice in explained for check in folded))
    return Blocking(tuple(found[index] for index in sorted(kept)), folded, more)


def _more(number: int, parts: int) -> str:
    if not parts:
        return f"{number} more" if number else ""
    if parts < number:
        return f"{number} more, {parts} of them parts of failing slices"
    return f"{number} more, {'parts of failing slices' if parts > 1 else 'part of a failing slice'}"


def deciding_check(checks: Sequence[Check], outcome: VerdictOutcome) -> Check | None:
    """The check that explains a verdict other than pass: slices before overall figures, the largest certain loss first."""
    if outcome == "pass":
        return None
    return next((check for check in blocking_checks(checks) if check.outcome == outcome), None)


def waived_checks(checks: Iterable[Check]) -> list[Check]:
    """The checks that do not pass on their own and do not block because a person took the responsibility."""
    return [check for check in checks if check.outcome == "waived"]


def findings_first(checks: Iterable[Check]) -> list[Check]:
    """The checks with those that block in front, then the waived ones, otherwise in their order."""
    order = {"fail": 0, "inconclusive": 1, "waived": 2}
    return sorted(checks, key=lambda check: order.get(check.outcome, 3) if check.required or check.outcome == "waived" else 3)


def labels_needed(checks: Iterable[Check]) -> tuple[tuple[str, int], ...]:
    """What to label so that open checks can be decided: (slice or "any image", further images), most first; each slice once."""
    wanted: dict[str, int] = {}
    for check in checks:
        if check.required and check.outcome == "inconclusive" and check.labels_needed:
            where = check.slice or "any image"
            wanted[where] = max(wanted.get(where, 0), check.labels_needed)
    return tuple(sorted(wanted.items(), key=lambda item: (-item[1], item[0])))
