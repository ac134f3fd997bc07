"""Overrides applied to checks: what blocks and a person has answered for is waived, visibly."""

import datetime
from collections.abc import Iterable, Sequence

from sightline.evaluate.verdict import Check, Override, waivable


def waive(checks: Iterable[Check], overrides: Sequence[Override]) -> tuple[tuple[Check, ...], tuple[Override, ...]]:
    """The checks with blocking ones that an override names turned into "waived", and the overrides that did it.

    Args:
        checks: of one verdict.
        overrides: those that are valid now for its candidate and golden images; where several name a check, the one that lasts longest
            counts, so that the verdict can be deployed as long as any of them holds.

    Returns:
        The checks in their order, numbers unchanged, the former outcome in ``detail``; and the overrides that were used, in the order
        given. Checks that pass, that are not required or that nobody may waive (see ``waivable``) stay as they are.
    """
    used: set[int] = set()
    result = []
    for check in checks:
        index = _covering(check, overrides)
        if index is None:
            result.append(check)
        else:
            used.add(index)
            result.append(check.model_copy(update={"outcome": "waived", "detail": _detail(check, overrides[index])}))
    return tuple(result), tuple(override for index, override in enumerate(overrides) if index in used)


def _covering(check: Check, overrides: Sequence[Override]) -> int | None:
    if not check.required or check.outcome not in {"fail", "inconclusive"} or not waivable(check):
        return None
    naming = [index for index, override in enumerate(overrides) if check.name in override.checks]
    return max(naming, key=lambda index: overrides[index].until, default=None)


def _detail(check: Check, override: Override) -> str:
    until = datetime.datetime.fromtimestamp(override.until, tz=datetime.UTC)
    was = f"{check.outcome}: {check.detail}" if check.detail else check.outcome
    return f"waived by {override.who} until {until:%Y-%m-%d %H:%M} UTC ({override.why}); it was {was}"
