"""A job in a process of its own: started, watched, and gone afterwards with everything that it started."""

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from sightline.errors import EnvironmentFault, SightlineError
from sightline.learn.failure import describe_failure, explained_failure

Event = Mapping[str, Any]
Emit = Callable[[Event], None]

_LOG = logging.getLogger(__name__)
_MARKER = "SIGHTLINE_JOB"
_EVENTS = "events.jsonl"
_ALIVE = "alive.lock"
_POLL_S = 0.1
_GRACE_S = 3.0


@dataclass(frozen=True)
class Child:
    """What to start.

    Attributes:
        name: for messages: "training", "the search".
        command: argv.
        scratch: an existing folder for its events, errors and log.
        timeout_s: it is ended after this many seconds.
        timeout_key: the configuration key that the user would raise then.
        environment: added to this process's environment.
    """

    name: str
    command: tuple[str, ...]
    scratch: Path
    timeout_s: float
    timeout_key: str
    environment: Mapping[str, str] = field(default_factory=dict)


def run_child(child: Child, on_event: Emit) -> None:
    """Runs the child to its end and hands over each event that it emits.

    However this returns (success, failure, timeout, Ctrl-C, SIGTERM), no process that the child started is left, not even one that moved to
    another process group. If this process is killed outright, the child notices and ends itself.

    Raises:
        SightlineError: the child's own error, or what stopped it with the end of its log.
        SystemExit: SIGTERM came (code 143).
    """
    marker = uuid.uuid4().hex
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **child.environment, _MARKER: marker}
    with (child.scratch / _ALIVE).open("w") as alive, (child.scratch / "child.log").open("wb") as log, sigterm_raises():
        fcntl.flock(alive, fcntl.LOCK_EX)
        process = subprocess.Popen(
            child.command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _follow(process, child, on_event)
        finally:
            _end(process, marker)
    _LOG.debug("log of %s:\n%s", child.name, _log_tail(child.scratch, lines=200))
    if process.returncode:
        raise _failure(child, process.returncode)


def _follow(process: "subprocess.Popen[bytes]", child: Child, on_event: Emit) -> None:
    deadline = time.monotonic() + child.timeout_s
    events = _Events(child.scratch / _EVENTS)
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise EnvironmentFault(f"{child.name} was ended after {child.timeout_s:g} s", remedy=f"raise {child.timeout_key}")
        for event in events.new():
            on_event(event)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
    for event in events.new():
        on_event(event)


class _Events:
    """The events of a file that grows; a line counts when its end is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def new(self) -> list[Event]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Lets `finally` run on SIGTERM, which then ends this process with 143.

    Only the main thread may set handlers, elsewhere the caller has to see to it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end(process: "subprocess.Popen[bytes]", marker: str) -> None:
    """Asks the group to end, then kills whatever still carries the marker: torchrun and Ray give their workers other process groups."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    _sweep(marker)
    process.wait(_GRACE_S)


def _sweep(marker: str) -> None:
    """Kills every process with the marker but this one, again until none is left: one may start another while it is looked for."""
    for _ in range(20):
        left = _marked(marker)
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.5)


def _marked(marker: str) -> list[psutil.Process]:
    found = []
    for process in (process for process in psutil.process_iter() if process.pid != os.getpid()):
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _failure(child: Child, code: int) -> SightlineError:
    reports = [json.loads(path.read_bytes()) for path in sorted(child.scratch.glob("error-*.json"))]
    if (known := explained_failure(reports)) is not None:
        return known
    if reports:
        log, report = _log_tail(child.scratch, lines=25), reports[0]
        return SightlineError(f"{child.name} failed: {report['kind']}: {report['message']}; the end of its log:\n{log}")
    if code in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return EnvironmentFault(
            f"{child.name} was killed, most likely for its memory", remedy="lower train.batch_size or the number of processes"
        )
    return SightlineError(f"{child.name} ended with exit code {code}; the end of its log:\n{_log_tail(child.scratch, lines=25)}")


def _log_tail(scratch: Path, *, lines: int) -> str:
    text = (scratch / "child.log").read_text(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def as_child(scratch: Path, name: str) -> Iterator[Emit]:
    """The child's side: yields what emits events, reports an error to the parent, ends this process when the parent is gone.

    Args:
        scratch: the folder of ``Child.scratch``.
        name: which of several processes this is; unique.
    """
    threading.Thread(target=_die_with_parent, args=(scratch / _ALIVE,), daemon=True).start()
    try:
        yield _Emitter(scratch / _EVENTS)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to say it
        if not isinstance(error, SightlineError):
            traceback.print_exc()
        (scratch / f"error-{name}.json").write_text(json.dumps(describe_failure(error)))
        raise SystemExit(1) from None


@dataclass(frozen=True)
class _Emitter:
    """Appends events to a file; it may travel to another process, as Ray's callbacks do."""

    path: Path

    def __call__(self, event: Event) -> None:
        # Unbuffered, so one write per line: lines of several processes do not mix.
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(event, allow_nan=False) + "\n").encode())


def _die_with_parent(alive: Path) -> None:
    # The parent holds this lock as long as it lives; no polling, and it works where the parent stays behind as a zombie.
    with alive.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    # Ray's agents outlive a driver that is gone without a word.
    _sweep(os.environ.get(_MARKER, ""))
    os._exit(1)
