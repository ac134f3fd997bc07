"""How the processes of a job tell the one that waits for them why they failed."""

from collections.abc import Iterable
from typing import Any

from sightline.errors import DataError, EnvironmentFault, SightlineError, TemporaryError, UsageError

_KINDS: dict[str, type[SightlineError]] = {kind.__name__: kind for kind in (UsageError, EnvironmentFault, DataError, TemporaryError)}


def describe_failure(error: Exception) -> dict[str, str]:
    """The error as text that can be kept in a file."""
    if isinstance(error, SightlineError):
        return {"kind": type(error).__name__, "message": str(error.args[0]), "remedy": error.remedy}
    return {"kind": type(error).__name__, "message": str(error) or type(error).__name__, "remedy": ""}


def explained_failure(reports: Iterable[dict[str, Any]]) -> SightlineError | None:
    """The error of the process that failed for a reason of its own, not of those that then lost contact with it; None when none knows."""
    for report in reports:
        if report["kind"] in _KINDS:
            return _KINDS[report["kind"]](report["message"], remedy=report["remedy"])
    return None
