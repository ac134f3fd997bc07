"""Server processes on this machine, behind our own router; they end with the block that started them, and with this process."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.config.deploy import DeployConfig
from sightline.deploy.judge import Arm
from sightline.deploy.router import Router, Routing
from sightline.deploy.targets.base import ArmRecord, CanaryNotReadyError, Observe, Route
from sightline.deploy.wire import Endpoint
from sightline.errors import EnvironmentFault
from sightline.registry.ledger import Champion
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


class LocalTarget:
    """Both arms as processes of this machine; nothing is left of either afterwards.

    Args:
        bundle: folder of the candidate.
        config: how the servers and the router run.
        salt: key of the split.
        messages: folder for what the servers print.
    """

    replays = True

    def __init__(self, bundle: Path, config: DeployConfig, *, salt: str, messages: Path) -> None:
        self._bundle = bundle
        self._config = config
        self._salt = salt
        self._messages = messages

    def settle(self, champion: Champion | None) -> None:
        """Nothing is served outside a canary."""

    def discard(self) -> None:
        """The candidate has ended with the process that started it."""

    @contextlib.contextmanager
    def started(self, champion: Champion | None) -> Iterator["LocalArms"]:
        """See Target; EnvironmentFault when a port cannot be had."""
        config = self._config
        with contextlib.ExitStack() as stack:
            incumbent = None
            if champion:
                options = ServerOptions("stable", self._messages / "stable.log", model=config.model, host=config.host)
                incumbent = stack.enter_context(running(Path(champion.folder), options))
            options = ServerOptions(
                "canary",
                self._messages / "canary.log",
                fault=config.fault,
                fault_delay_s=2 * config.latency_slo_ms / 1e3,
                model=config.model,
                host=config.host,
            )
            canary = stack.enter_context(running(self._bundle, options))
            try:
                yield LocalArms(config, canary, incumbent, salt=self._salt)
            finally:  # both drain at the same time, the stack then waits for one after the other
                for server in (canary, incumbent):
                    if server:
                        server.terminate()


class LocalArms:
    """The two started servers."""

    def __init__(self, config: DeployConfig, canary: LocalServer, incumbent: LocalServer | None, *, salt: str) -> None:
        self._config = config
        self._canary = canary
        self._incumbent = incumbent
        self._salt = salt

    def wait_ready(self) -> None:
        """See Started; the incumbent first: without a warm one there would be nothing to fall back to."""
        if self._incumbent:
            self._incumbent.wait_ready()
        try:
            self._canary.wait_ready()
        except EnvironmentFault as error:
            raise CanaryNotReadyError(error.message) from None

    def clients(self) -> "RoutedClients":
        """See Started."""
        return RoutedClients(self._config, self._canary, self._incumbent, salt=self._salt)

    def promote(self) -> None:
        """The ledger's word is all: this machine serves nobody."""


class RoutedClients:
    """Clients through our own router, which sees every request and answers with the incumbent what the canary fails."""

    def __init__(self, config: DeployConfig, canary: LocalServer, incumbent: LocalServer | None, *, salt: str) -> None:
        self._config = config
        self._canary = canary
        self._observe: Observe | None = None
        self.has_incumbent = incumbent is not None
        self.endpoint = Endpoint(canary.url)
        self._router = Router(
            canary=self.endpoint,
            incumbent=Endpoint(incumbent.url) if incumbent else None,
            routing=Routing(config.canary_share, salt, config.request_timeout_s, config.latency_slo_ms),
            observe=lambda observation: self._observe(observation) if self._observe else None,
        )

    @property
    def arms(self) -> Mapping[Arm, ArmRecord]:
        """See Clients."""
        return self._router.arms

    @property
    def canary_share(self) -> float:
        """See Clients."""
        return self._router.canary_share

    @property
    def num_fallbacks(self) -> int:
        """See Clients."""
        return self._router.num_fallbacks

    @property
    def num_client_errors(self) -> int:
        """See Clients."""
        return self._router.num_client_errors

    async def shift(self, observe: Observe) -> Route:
        """See Clients; EnvironmentFault when the router's port is taken."""
        self._observe = observe
        return Route(await self._router.start(self._config.host, self._config.port))

    async def collect(self) -> None:
        """The router hands over each request as it is answered."""

    def failure(self) -> str:
        """See Clients."""
        code = self._canary.exit_code
        return "" if code is None else f"the canary's server ended with code {code}"

    def blind(self) -> str:
        """The router sees everything."""
        return ""

    def withdraw(self) -> None:
        """See Clients; takes effect at once."""
        self._router.withdraw_canary()

    async def close(self) -> None:
        """See Clients."""
        await self._router.close()
        self.endpoint.close()
