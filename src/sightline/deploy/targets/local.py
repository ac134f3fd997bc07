"""Server processes on this machine; they end with the block that started them, and with this process, whatever happens to it."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.errors import EnvironmentFault
from sightline.serve.faults import FaultKind
from sightline.serve.server import listen

Track = Literal["stable", "canary"]
READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 12.0


@dataclass(frozen=True)
class ServerOptions:
    """How a bundle is served.

    Attributes:
        track: stable or canary.
        messages: file that gets what the server prints.
        served_log: folder of the served log; None: nothing is logged.
        fault: the rollback drill.
        fault_delay_s: seconds that the drill "slow" adds.
        model: name in URLs.
        port: 0 takes a free one.
    """

    track: Track
    messages: Path
    served_log: Path | None = None
    fault: FaultKind = "none"
    fault_delay_s: float = 0.5
    model: str = "sightline"
    host: str = "127.0.0.1"
    port: int = 0


class LocalServer:
    """One running server process.

    The listening socket is made here and inherited, so that there is no moment at which somebody else can take the port. Start it from a
    thread that lives as long as the server should: Linux ends the server with the thread that started it.

    Raises:
        EnvironmentFault: the port is taken.
    """

    def __init__(self, bundle: Path, options: ServerOptions) -> None:
        self._messages = options.messages
        self._name = options.track
        options.messages.parent.mkdir(parents=True, exist_ok=True)
        with listen(options.host, options.port) as listening, options.messages.open("wb") as messages:
            self._address: tuple[str, int] = (options.host, listening.getsockname()[1])
            self._process = subprocess.Popen(
                _command(bundle, options, listening.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=subprocess.STDOUT,
                pass_fds=(listening.fileno(),),
            )

    @property
    def url(self) -> str:
        """The base URL."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.poll()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns when one real inference has succeeded.

        Raises:
            EnvironmentFault: the server ended or did not become ready; the message has its last words.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.exit_code is not None:
                raise EnvironmentFault(f"the {self._name} server ended with code {self.exit_code}: {self.last_words()}")
            if self._is_ready():
                return
            time.sleep(0.03)
        raise EnvironmentFault(f"the {self._name} server was not ready after {timeout_s:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what the server printed."""
        lines = self._messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])[-500:] if lines else "it printed nothing"

    def terminate(self) -> None:
        """Asks the process to drain and end; does not wait."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Drains and ends the process; kills it when it takes too long."""
        self.terminate()
        if self._process.poll() is None:
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(*self._address, timeout=1.0)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _command(bundle: Path, options: ServerOptions, descriptor: int) -> list[str]:
    command = [sys.executable, "-m", "sightline.serve", "--bundle", str(bundle), "--name", options.model, "--track", options.track]
    command += ["--fd", str(descriptor), "--parent-pid", str(os.getpid())]
    command += ["--fault", options.fault, "--fault-delay-s", str(options.fault_delay_s)]
    return [*command, "--log", str(options.served_log)] if options.served_log else command


@contextlib.contextmanager
def running(bundle: Path, options: ServerOptions) -> Iterator[LocalServer]:
    """A started server, perhaps not ready yet; it is stopped at the end of the block, whatever happens."""
    server = LocalServer(bundle, options)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def serve_bundle(
    folder: str | Path,
    *,
    track: Track = "stable",
    log_dir: str | Path | None = None,
    fault: FaultKind = "none",
    host: str = "127.0.0.1",
    port: int = 0,
    model: str = "sightline",
) -> Iterator[str]:
    """The base URL of a ready server for a compiled bundle; the server is stopped at the end of the block.

    Args:
        folder: a compiled bundle.
        track: stable or canary.
        log_dir: folder of the served log, which is complete when the block has ended; None: nothing is logged.
        fault: the rollback drill.
        host: address to bind.
        port: 0 takes a free one.
        model: the model's name in URLs.

    Raises:
        EnvironmentFault: the port is taken, or the server does not become ready.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="sightline-serve-") as scratch:
        options = ServerOptions(
            track, Path(scratch) / "server.log", Path(log_dir) if log_dir else None, fault, model=model, host=host, port=port
        )
        with running(Path(folder), options) as server:
            server.wait_ready()
            yield server.url
