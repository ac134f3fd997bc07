"""Runs a command so that nothing it started outlives it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

from sightline.errors import Interrupted

_PR_SET_CHILD_SUBREAPER = 36
_GRACE_S = 5.0
_TICK_S = 0.1


def supervise(command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, on_tick: Callable[[], None]) -> int:
    """The exit code of a command, after which every process that it started is gone, also the ones that detached themselves.

    Args:
        command: argument list.
        environment: variables added to ours.
        folder: working directory.
        log: file that takes its output.
        on_tick: called ten times a second while it runs.

    Raises:
        Interrupted: on SIGINT or SIGTERM, after everything was stopped.
    """
    _adopt_orphans()
    previous = signal.signal(signal.SIGTERM, _interrupt)
    others = frozenset(_descendants())
    # A session of its own: Ctrl-C reaches only this process, which then stops the others in order.
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            on_tick()
            time.sleep(_TICK_S)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; everything that was started is stopped", remedy="run it again: finished steps are kept") from None
    finally:
        _stop(others)
        signal.signal(signal.SIGTERM, previous)
    on_tick()
    return process.returncode


def _descendants() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def _stop(others: frozenset[psutil.Process]) -> None:
    """Ends all processes below this one but the others: SIGTERM, five seconds of grace, SIGKILL."""
    alive = [process for process in _descendants() if process not in others]
    for process in alive:
        _signal(process, signal.SIGTERM)
    psutil.wait_procs(alive, timeout=_GRACE_S)
    alive = [process for process in _descendants() if process not in others]
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=_GRACE_S)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _adopt_orphans() -> None:
    # Ray's daemons leave their parent; on Linux their nearest living ancestor can ask to inherit them, so that they can be found and ended.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
