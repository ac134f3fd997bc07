"""The errors a person can act on; each leaf is one exit code."""

from collections.abc import Sequence


class SightlineError(Exception):
    """A problem that is explained without a traceback.

    Args:
        message: which thing, what was expected, what came.
        remedy: what to do next, in the words the user typed (flag, key, path).
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class UsageError(SightlineError):
    """The command, a flag or a configuration key is wrong (exit code 2)."""

    exit_code = 2


class EnvironmentFault(SightlineError):
    """The machine cannot do it as asked: a port is taken, the disk is full, a library is absent (exit code 2)."""

    exit_code = 2


class DataError(SightlineError):
    """The data cannot be used (exit code 65).

    Args:
        message: the summary.
        problems: every problem found, one line each, so that one run shows them all.
        remedy: what to do next.
    """

    exit_code = 65

    def __init__(self, message: str, *, problems: Sequence[str] = (), remedy: str = "") -> None:
        shown = [f"  - {problem}" for problem in problems[:20]]
        if len(problems) > len(shown):
            shown.append(f"  … and {len(problems) - len(shown)} more")
        super().__init__("\n".join([message, *shown]), remedy=remedy)
        self.problems = tuple(problems)


class Interrupted(SightlineError):
    """The person stopped it; what was started is gone (exit code 130, as shells have it)."""

    exit_code = 130


class TemporaryError(SightlineError):
    """The same call may succeed later (exit code 75)."""

    exit_code = 75
