import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sightline.errors import EnvironmentFault, SightlineError, UsageError
from sightline.learn import child as child_module
from sightline.learn.child import Child, run_child

PREAMBLE = """
import subprocess, sys, time
from pathlib import Path
from sightline.errors import UsageError
from sightline.learn.child import as_child
scratch = Path(sys.argv[1])
with as_child(scratch, "0") as emit:
"""


def make(tmp_path: Path, body: str, *, timeout_s: float = 60) -> Child:
    script = tmp_path / "script.py"
    script.write_text(PREAMBLE + "".join(f"    {line}\n" for line in body.splitlines()))
    return Child("the job", (sys.executable, str(script), str(tmp_path)), tmp_path, timeout_s, "train.timeout_s")


# A grandchild in a session of its own, as torchrun and Ray make them.
GRANDCHILD = 'subprocess.Popen(["sleep", "300"], start_new_session=True)'


@pytest.fixture
def markers(monkeypatch):
    seen = []
    original = child_module._end

    def record(process, marker):
        seen.append(marker)
        original(process, marker)

    monkeypatch.setattr(child_module, "_end", record)
    return seen


def test_events_arrive_in_order(tmp_path):
    events = []
    run_child(make(tmp_path, 'for i in range(5): emit({"i": i})'), events.append)
    assert events == [{"i": i} for i in range(5)]


def test_the_childs_own_error_comes_back_with_its_kind_and_remedy(tmp_path):
    with pytest.raises(UsageError, match="it cannot be\n  remedy: lower it"):
        run_child(make(tmp_path, 'raise UsageError("it cannot be", remedy="lower it")'), lambda _event: None)


def test_an_unexpected_error_comes_back_with_the_end_of_the_log(tmp_path):
    with pytest.raises(SightlineError, match=r"(?s)ZeroDivisionError.*1 / 0"):
        run_child(make(tmp_path, "1 / 0"), lambda _event: None)


def test_a_killed_child_is_explained(tmp_path):
    with pytest.raises(EnvironmentFault, match="killed, most likely for its memory"):
        run_child(make(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), lambda _event: None)


def test_a_child_that_takes_too_long_is_ended_with_its_grandchildren(tmp_path, markers):
    with pytest.raises(EnvironmentFault, match=r"ended after 2 s(?s:.*)raise train.timeout_s"):
        run_child(make(tmp_path, f"{GRANDCHILD}\ntime.sleep(300)", timeout_s=2), lambda _event: None)
    assert child_module._marked(markers[0]) == []


def test_nothing_is_left_after_success_or_an_interrupt(tmp_path, markers):
    def interrupt(_event):
        raise KeyboardInterrupt

    run_child(make(tmp_path, GRANDCHILD), lambda _event: None)
    with pytest.raises(KeyboardInterrupt):
        run_child(make(tmp_path, f'{GRANDCHILD}\nemit({{"a": 1}})\ntime.sleep(300)'), interrupt)
    assert [child_module._marked(marker) for marker in markers] == [[], []]


def test_sigterm_ends_the_child_and_exits_with_143(tmp_path):
    # In a process of its own: a signal that came a moment late would end the test runner.
    job = make(tmp_path, f'emit({{"pid": {GRANDCHILD}.pid}})\ntime.sleep(300)')
    stop = "lambda _event: os.kill(os.getpid(), signal.SIGTERM)"
    code = f"import os, signal\nfrom sightline.learn.child import *\nrun_child({job!r}, {stop})".replace("PosixPath", "Path")
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 143
    assert is_gone(told_pid(tmp_path))


def is_gone(pid):
    """Whether the process ends; a moment passes until its adopted parent has noticed."""
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


def told_pid(folder):
    """The process id that the child reported; waits until the line is whole."""
    path, deadline = folder / "events.jsonl", time.monotonic() + 30
    while not (path.exists() and path.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(path.read_text().split(":")[1].strip(" }\n"))


def test_a_child_whose_parent_is_killed_outright_ends_itself_and_what_it_started(tmp_path):
    job = make(tmp_path, f'emit({{"pid": {GRANDCHILD}.pid}})\ntime.sleep(300)')
    code = f"from sightline.learn.child import *; run_child({job!r}, print)".replace("PosixPath", "Path")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as parent:
        pid = told_pid(tmp_path)
        assert psutil.pid_exists(pid)
        parent.kill()
    assert is_gone(pid)
