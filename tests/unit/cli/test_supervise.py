import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from sightline.cli.supervise import supervise

# A child that detaches a grandchild as a daemon does (session of its own, parent gone) and ignores SIGTERM.
STUBBORN = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(sys.argv[1], 'w').write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
time.sleep(float(sys.argv[2]))
"""


def read_pid(path):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError("the daemon did not start")


def test_a_daemon_that_the_command_left_behind_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("sightline.cli.supervise._GRACE_S", 0.3)
    pid_file = tmp_path / "pid"
    code = supervise(
        [sys.executable, "-c", STUBBORN, str(pid_file), "0"], environment={}, folder=tmp_path, log=tmp_path / "log", on_tick=lambda: None
    )
    assert code == 0
    assert not psutil.pid_exists(read_pid(pid_file))


def test_control_without_supervision_the_daemon_lives_on(tmp_path):
    pid_file = tmp_path / "pid"
    subprocess.run([sys.executable, "-c", STUBBORN, str(pid_file), "0"], check=True)
    pid = read_pid(pid_file)
    assert psutil.pid_exists(pid)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_everything_that_was_started(tmp_path, number):
    pid_file = tmp_path / "pid"
    code = (
        "import sys; from pathlib import Path; from sightline.cli.supervise import supervise; from sightline.errors import Interrupted\n"
        "folder = Path(sys.argv[1])\n"
        "command = [sys.executable, '-c', sys.argv[2], str(folder/'pid'), '600']\n"
        "try: supervise(command, environment={}, folder=folder, log=folder/'log', on_tick=lambda: None)\n"
        "except Interrupted: sys.exit(130)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), STUBBORN])
    pid = read_pid(pid_file)
    process.send_signal(number)
    assert process.wait(timeout=20) == 130
    assert not psutil.pid_exists(pid)


def test_the_exit_code_and_the_output_are_kept(tmp_path):
    log = tmp_path / "log"
    code = supervise(
        [sys.executable, "-c", "import os, sys; print(os.environ['X']); sys.exit(7)"],
        environment={"X": "seen"},
        folder=tmp_path,
        log=log,
        on_tick=lambda: None,
    )
    assert code == 7
    assert log.read_text() == "seen\n"
