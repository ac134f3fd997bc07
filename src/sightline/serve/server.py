"""One server process: its options, its socket, its end."""

import argparse
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import DataError, EnvironmentFault, SightlineError
from sightline.serve.faults import FAULTS

if TYPE_CHECKING:
    from sightline.models.bundle import ModelBundle

TRACKS = ("stable", "canary", "route")
_DRAIN_S = 10
_HEADER_DEADLINE_S = 10.0
_PR_SET_PDEATHSIG = 1


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; ends the process with code 2 on a wrong one, as every command does."""
    parser = argparse.ArgumentParser(
        "python -m sightline.serve", description="Serves a compiled model bundle (Open Inference Protocol v2, REST)."
    )
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a compiled bundle; every file is compared with its SHA-256")
    parser.add_argument("--digest", default="", help="the bundle's content digest; another bundle ends the server")
    parser.add_argument("--name", default="sightline", help="the model's name in URLs")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; the default is reachable from this machine only")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    parser.add_argument("--fd", type=int, default=-1, help="listen on this inherited socket instead of host and port")
    parser.add_argument(
        "--metrics-port", type=int, help="second port, for /metrics and /observations only; default: /metrics beside the model"
    )
    parser.add_argument(
        "--track",
        choices=TRACKS,
        default="stable",
        help="label of the metrics and part of the log's name; route: a cluster decides",
    )
    parser.add_argument("--log", default="", help="folder or s3://bucket/prefix for the served log; without it nothing is logged")
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads of one prediction")
    parser.add_argument("--num-workers", type=int, default=2, help="predictions at a time")
    parser.add_argument("--max-waiting", type=int, default=64, help="requests that may wait; one more is answered with 429")
    parser.add_argument("--fault", choices=FAULTS, default="none", help="rollback drill: misbehave in this way")
    parser.add_argument("--fault-delay-s", type=float, default=0.5, help="drill 'slow': seconds added to each answer")
    parser.add_argument("--parent-pid", type=int, default=0, help="end when this parent process ends")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, then answers what was accepted and returns 0; other codes as in ``sightline.errors``."""
    options = parse_options(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if options.parent_pid:
            _end_with_parent(options.parent_pid)
        _serve(options)
    except SightlineError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening socket; port 0 takes a free one.

    Raises:
        EnvironmentFault: the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(512)
    except (OSError, OverflowError) as error:
        listening.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise EnvironmentFault(f"port {port} on {host} is taken", remedy="stop the other program or choose another port") from None
        raise EnvironmentFault(f"cannot listen on {host}:{port}: {error}", remedy="choose another host or port") from None
    return listening


def _serve(options: argparse.Namespace) -> None:
    # The socket comes first: a taken port is the commonest mistake and should not cost the loading of a model.
    listening = socket.socket(fileno=options.fd) if options.fd >= 0 else listen(options.host, options.port)
    with contextlib.ExitStack() as sockets:
        sockets.enter_context(listening)
        ops = None if options.metrics_port is None else sockets.enter_context(listen(options.host, options.metrics_port))
        from sightline.serve.app import App
        from sightline.serve.engine import Engine, EngineOptions
        from sightline.serve.faults import Fault

        engine = Engine(
            _opened(options.bundle, options.digest),
            options=EngineOptions(options.num_threads, options.num_workers, options.max_waiting),
            fault=Fault(options.fault, delay_s=options.fault_delay_s),
            log=options.log,
            track=options.track,
        )
        failures: list[BaseException] = []
        ops_port = ops.getsockname()[1] if ops else None
        app = App(engine, name=options.name, track=options.track, on_load_failure=failures.append, ops_port=ops_port)
        _run(app, [listening, ops] if ops else [listening], failures)
    if failures:
        raise failures[0]


def _opened(folder: Path, digest: str) -> "ModelBundle":
    from sightline.models.bundle import ModelBundle

    bundle = ModelBundle.open(folder)
    if digest and bundle.digest != digest:
        raise DataError(
            f"{folder} holds model {bundle.digest[:12]}, expected {digest[:12]}", remedy="correct the place that it is loaded from"
        )
    return bundle


def _run(app: object, listening: list[socket.socket], failures: list[BaseException]) -> None:
    import uvicorn

    from sightline.serve.connection import connection_class

    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # uvicorn types ASGI events as TypedDicts, the specification as mappings
        http=connection_class(_HEADER_DEADLINE_S),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )

    class Server(uvicorn.Server):
        """Also stops when the model could not be loaded."""

        async def on_tick(self, counter: int) -> bool:
            return await super().on_tick(counter) or bool(failures)

    # uvicorn raises the signal once more after the drain; a handler of our own makes that harmless, so that the process ends with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=listening)


def _end_with_parent(parent_pid: int) -> None:
    """Asks the kernel for SIGTERM when the parent ends; where it cannot be asked, a thread looks once a second."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent_pid,), daemon=True).start()
    if os.getppid() != parent_pid:  # it ended before we asked
        raise EnvironmentFault(f"the parent process {parent_pid} has ended")


def _watch(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
