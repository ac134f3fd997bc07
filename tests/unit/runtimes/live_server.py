"""Servers to ask: the real one on a tiny bundle, and one that answers whatever a test wants."""

import contextlib
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from sightline import images
from sightline.data.version import Split
from sightline.store.digest import sha256_bytes
from tests.unit.serve.tiny_bundle import CLASSES, SIZE_PX

Reply = tuple[int, bytes]


@contextlib.contextmanager
def real_server(bundle: Path, *extra: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sightline.serve", "--bundle", str(bundle), "--port", str(port), *extra]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_ready(process, f"http://127.0.0.1:{port}/v2/health/ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _wait_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("never ready")


def page(classes: Sequence[str] = CLASSES, digest: str = "d" * 64, version: str = "v1") -> Reply:
    text = {
        "name": "sightline",
        "versions": [version],
        "platform": "onnxruntime-fp32",
        "parameters": {"classes": classes, "digest": digest},
    }
    return 200, json.dumps(text).encode()


def answer(probabilities: Sequence[float], *, version: str = "v1", label: str = "") -> Reply:
    outputs = [{"name": "probabilities", "shape": [1, len(probabilities)], "datatype": "FP32", "data": list(probabilities)}]
    if label:
        outputs.append({"name": "label", "shape": [1], "datatype": "BYTES", "data": [label]})
    return 200, json.dumps({"model_name": "sightline", "model_version": version, "outputs": outputs}).encode()


@contextlib.contextmanager
def scripted_server(infer: Callable[[int], Reply | None], *, pages: Callable[[int], Reply] = lambda _: page()) -> Iterator[str]:
    """Answers the n-th request (from 0) with ``infer(n)``; None closes the connection without an answer."""
    counts = {"GET": 0, "POST": 0}
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # one packet per answer: else each one waits 40 ms for an acknowledgement

        def do_GET(self) -> None:
            self._reply(pages(self._number("GET")))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._reply(infer(self._number("POST")))

        def _number(self, method: str) -> int:
            with lock:
                counts[method] += 1
                return counts[method] - 1

        def _reply(self, reply: Reply | None) -> None:
            if reply is None:
                self.close_connection = True
                return
            status, body = reply
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if status == 307:
                self.send_header("location", "http://127.0.0.1:1/")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def split_of(files: Sequence[Path], labels: Sequence[int], *, size_px: int = SIZE_PX) -> Split:
    pixels = [images.resize(images.decode(path.read_bytes()), size_px) for path in files]
    return Split(
        name="golden",
        sample_ids=tuple(sha256_bytes(path.read_bytes()) for path in files),
        labels_N=np.asarray(labels, np.int64),
        attributes=pd.DataFrame({"site": ["AB"[index % 2] for index in range(len(files))]}),
        locations=tuple(str(path) for path in files),
        pixels_NHWC=np.stack(pixels) if pixels else np.zeros((0, size_px, size_px, 3), np.uint8),
    )
