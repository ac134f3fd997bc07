"""One line per step: name, result, time, and "cached" where it was."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.store.records import StepRecord

_NAME_WIDTH = 19
_QUIET_S = 15.0


def emit(value: object) -> None:
    """Writes a JSON value to standard output."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


class Display:
    """Prints step records as they change: live on a terminal, otherwise a line when a step ends and one every 15 s while it works."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._shown: set[float] = set()
        self._spoke = time.monotonic()

    def heading(self, text: str) -> None:
        """A title above the steps that follow."""
        self._write(f"\n{text}\n")

    def text(self, text: str) -> None:
        """Plain text as it is."""
        self._clear()
        self._write(text)

    def line(self, name: str, text: str, seconds: float, *, mark: str = "✓") -> None:
        """One finished line."""
        self._clear()
        self._write(f"  {mark} {name:<{_NAME_WIDTH}}{seconds:6.1f} s  {text}\n")

    def update(self, steps: str | Path) -> None:
        """Shows what changed in a run's ``steps``, a folder or ``s3://…``."""
        from sightline.store.records import read_records

        for record in read_records(steps):
            if record.started_at in self._shown:
                continue
            if record.status == "running":
                self._working(record)
            else:
                self._shown.add(record.started_at)
                self._finished(record)

    def _finished(self, record: StepRecord) -> None:
        if record.status == "failed":
            self.line(record.name, record.error.splitlines()[0], record.seconds, mark="✗")
        else:
            self.line(record.name, ("cached · " if record.cached else "") + record.headline, record.seconds, mark=_mark(record.outcome))

    def _working(self, record: StepRecord) -> None:
        seconds = time.time() - record.started_at
        if self._live:
            self._clear()
            line = f"  … {record.name:<{_NAME_WIDTH}}{seconds:6.0f} s  {record.progress or 'starting'}"
            self._write(line[: shutil.get_terminal_size().columns - 1])
        elif time.monotonic() - self._spoke > _QUIET_S:
            self._write(f"  … {record.name:<{_NAME_WIDTH}}{seconds:6.0f} s  {record.progress}\n")

    def _clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        self._spoke = time.monotonic()
        self._stream.write(text)
        self._stream.flush()


def _mark(outcome: str) -> str:
    return {"fail": "✗", "inconclusive": "?", "rolled-back": "↩", "retrain": "!"}.get(outcome, "✓")
