"""A real server process, talked to over real sockets."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightline.images import PROPERTIES
from sightline.models.bundle import ModelBundle
from sightline.serve.protocol import pack_files
from sightline.store.digest import sha256_bytes
from tests.unit.serve.tiny_bundle import CLASSES, SIZE_PX, picture, write_bundle

INFER = "/v2/models/sightline/infer"


class Server:
    def __init__(self, bundle: Path, *extra: str, program: str = "", env: dict[str, str] | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        start = ["-c", program] if program else ["-m", "sightline.serve"]
        command = [sys.executable, *start, "--bundle", str(bundle), "--port", str(self.port), *extra]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
        self.wait_ready()

    def wait_ready(self) -> None:
        for _ in range(600):
            try:
                if self.call("GET", "/v2/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            assert self.process.poll() is None
            time.sleep(0.05)
        raise AssertionError("never ready")

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def wait_until_waiting(self, num: int) -> None:
        for _ in range(400):
            if f"}} {num}\n" in self.call("GET", "/metrics")[2].decode().split("sightline_requests_waiting{", 1)[1].split("#")[0]:
                return
            time.sleep(0.01)
        raise AssertionError(f"never {num} waiting")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=30)
        assert b"Traceback" not in errors
        return self.process.returncode


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny").artifact.folder


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[Server]:
    running = Server(bundle)
    yield running
    assert running.stop() == 0


def json_request(*files: bytes, **extra: object) -> bytes:
    data = [base64.b64encode(file).decode() for file in files]
    return json.dumps({"inputs": [{"name": "image_bytes", "shape": [len(files)], "datatype": "BYTES", "data": data}], **extra}).encode()


def outputs(body: bytes) -> dict[str, dict[str, object]]:
    return {output["name"]: output for output in json.loads(body)["outputs"]}


def test_the_protocol_pages_answer(server: Server) -> None:
    assert json.loads(server.call("GET", "/v2")[2])["extensions"] == ["binary_tensor_data"]
    assert server.call("GET", "/v2/health/live")[0] == 200
    assert json.loads(server.call("GET", "/v2/models/sightline/ready")[2]) == {"name": "sightline", "ready": True}
    page = json.loads(server.call("GET", "/v2/models/sightline")[2])
    assert page["inputs"][0] == {"name": "images", "datatype": "UINT8", "shape": [-1, SIZE_PX, SIZE_PX, 3]}
    assert page["parameters"]["classes"] == list(CLASSES)
    assert server.call("HEAD", "/v2")[2] == b""


def test_a_jpeg_gets_its_class_and_an_id_comes_back(server: Server) -> None:
    status, _, body = server.call("POST", INFER, json_request(picture(1), picture(2), id="q-1"))
    assert status == 200
    assert json.loads(body)["id"] == "q-1"
    found = outputs(body)
    assert found["label"]["data"] == ["green", "blue"]
    assert found["probabilities"]["shape"] == [2, 3]
    np.testing.assert_allclose(np.reshape(found["probabilities"]["data"], (2, 3)).sum(axis=1), 1.0, atol=1e-5)
    assert "embedding" not in found


def test_tensor_and_binary_data_give_the_same_answer_as_json(server: Server) -> None:
    pixels = np.zeros((1, SIZE_PX, SIZE_PX, 3), np.uint8)
    pixels[..., 2] = 200
    head = {"name": "images", "shape": list(pixels.shape), "datatype": "UINT8"}
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label", "parameters": {"binary_data": True}}]
    text = json.dumps({"inputs": [{**head, "parameters": {"binary_data_size": pixels.size}}], "outputs": wanted}).encode()
    status, headers, body = server.call("POST", INFER, text + pixels.tobytes(), Inference_Header_Content_Length=str(len(text)))
    assert status == 200
    length = int(headers["inference-header-content-length"])
    binary = np.frombuffer(body[length : length + 12], "<f4")
    assert body[length + 12 :] == pack_files([b"blue"])
    _, _, plain = server.call("POST", INFER, json.dumps({"inputs": [{**head, "data": pixels.tolist()}]}).encode())
    np.testing.assert_allclose(binary, outputs(plain)["probabilities"]["data"], atol=1e-6)


def test_an_image_that_cannot_be_used_is_refused_with_422_and_its_reason(server: Server) -> None:
    for data, reason in ((picture(1)[:-400], "truncated"), (b"not an image", "unknown-format"), (b"", "empty")):
        status, _, body = server.call("POST", INFER, json_request(picture(0), data))
        assert (status, json.loads(body)) == (422, {"error": f"image 1 was refused: {reason}"})


def test_wrong_paths_methods_and_sizes_have_their_own_status(server: Server) -> None:
    assert server.call("GET", "/v2/models/other")[0] == 404
    assert server.call("GET", "/../../etc/passwd")[0] == 404
    assert server.call("GET", INFER)[0] == 405
    assert server.call("POST", "/v2")[0] == 405
    assert server.call("POST", INFER, b"{}")[0] == 400
    assert server.call("POST", INFER, b"{}", Content_Encoding="gzip")[0] == 400
    assert server.call("POST", INFER, b"{}", Inference_Header_Content_Length="-1")[0] == 400
    assert server.call("GET", "/v2", X_Large="x" * 20_000)[0] == 431


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 10000001\r\n\r\n".encode())
        assert b" 413 " in connection.recv(4096).split(b"\r\n")[0]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        part = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        with contextlib.suppress(OSError):  # the server may close before the last part was sent
            for _ in range(11):
                connection.sendall(part)
        assert b" 413 " in connection.recv(4096).split(b"\r\n")[0]


def test_garbage_on_the_wire_does_not_hurt_the_next_client(server: Server) -> None:
    for garbage in (
        b"\x00\xff\x16\x03\x01",
        b"POST / HTTP/9.9\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(garbage)
    assert server.call("POST", INFER, json_request(picture(0)))[0] == 200


def test_metrics_count_requests_and_classes(server: Server) -> None:
    server.call("POST", INFER, json_request(picture(0)))
    text = server.call("GET", "/metrics")[2].decode()
    assert 'sightline_ready{model="sightline",version="' in text
    assert ',track="stable",status="200"}' in text
    assert ',label="red"}' in text
    assert ',le="+Inf"}' in text


def test_a_taken_port_is_an_environment_fault_that_names_it(bundle: Path, server: Server) -> None:
    command = [sys.executable, "-m", "sightline.serve", "--bundle", str(bundle), "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"port {server.port} on 127.0.0.1 is taken" in done.stderr
    assert "remedy" in done.stderr


def test_a_damaged_bundle_ends_the_server_with_bad_data(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "broken").artifact.folder
    (folder / "model.onnx").write_bytes(b"damaged")
    done = subprocess.run(
        [sys.executable, "-m", "sightline.serve", "--bundle", str(folder), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 65
    assert "was altered" in done.stderr


def test_sigterm_answers_what_was_accepted_and_ends_with_zero_and_the_log_is_whole(bundle: Path, tmp_path: Path) -> None:
    running = Server(bundle, "--fault", "slow", "--fault-delay-s", "1.5", "--log", str(tmp_path / "served"), "--track", "canary")
    statuses: list[int] = []
    clients = [
        threading.Thread(target=lambda index=index: statuses.append(running.call("POST", INFER, json_request(picture(index)))[0]))
        for index in range(5)
    ]
    for client in clients:
        client.start()
    running.wait_until_waiting(5)
    running.process.send_signal(signal.SIGTERM)
    for client in clients:
        client.join()
    assert running.stop() == 0
    assert statuses == [200] * 5
    (file,) = (tmp_path / "served").glob("served-canary-*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["sample_id"] for record in records} == {sha256_bytes(picture(index)) for index in range(5)}
    assert set(records[0]["properties"]) == set(PROPERTIES)
    assert len(records[0]["embedding"]) == 3
    assert records[0]["label"] in CLASSES


def test_more_requests_than_may_wait_are_told_to_come_back(bundle: Path) -> None:
    running = Server(bundle, "--fault", "slow", "--fault-delay-s", "2.0", "--max-waiting", "2")
    statuses: list[int] = []
    clients = [threading.Thread(target=lambda: statuses.append(running.call("POST", INFER, json_request(picture(0)))[0])) for _ in range(2)]
    for client in clients:
        client.start()
    running.wait_until_waiting(2)
    status, headers, _ = running.call("POST", INFER, json_request(picture(0)))
    assert (status, headers["retry-after"]) == (429, "1")
    for client in clients:
        client.join()
    assert running.stop() == 0
    assert statuses == [200, 200]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_the_server_ends_when_its_parent_is_killed(bundle: Path) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "server = subprocess.Popen([sys.executable, '-m', 'sightline.serve', '--bundle', sys.argv[1], '--port', '0',"
        " '--parent-pid', str(os.getpid())])\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(bundle)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(1.0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _gone(pid)


def _gone(pid: int) -> bool:
    for _ in range(300):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # ended; nobody in this container collects orphans
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False


@pytest.mark.parametrize(("fault", "expected"), [("preprocessing", "red"), ("none", "blue")])
def test_the_preprocessing_drill_swaps_channels(bundle: Path, fault: str, expected: str) -> None:
    running = Server(bundle, "--fault", fault)
    try:
        assert outputs(running.call("POST", INFER, json_request(picture(2)))[2])["label"]["data"] == [expected]
    finally:
        assert running.stop() == 0


def test_the_error_drill_fails_about_one_request_in_five_without_telling_more(bundle: Path) -> None:
    running = Server(bundle, "--fault", "errors")
    try:
        found = [running.call("POST", INFER, json_request(picture(0))) for _ in range(60)]
        assert 4 <= sum(status == 500 for status, _, _ in found) <= 22
        assert {body for status, _, body in found if status == 500} == {b'{"error":"internal error (drill)"}'}
    finally:
        assert running.stop() == 0


@pytest.fixture
def ops_server(bundle: Path) -> Iterator[tuple[Server, int]]:
    """As in a container: a second port for operations."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = Server(bundle, "--metrics-port", str(port), "--track", "route", "--digest", ModelBundle.open(bundle).digest)
    yield running, port
    assert running.stop() == 0


def test_operations_have_a_port_of_their_own_and_clients_do_not_see_them(ops_server: tuple[Server, int]) -> None:
    server, port = ops_server
    for path in ("/metrics", "/observations"):
        assert server.call("GET", path)[0] == 404
    for path in ("/v2", "/v2/health/ready", INFER):
        assert call(port, path)[0] == 404
    assert call(port, "/observations?after=x")[0] == 400
    text = call(port, "/metrics")[1].decode()
    assert ',track="route"} 1\n' in text.split("sightline_ready{", 1)[1]


def test_each_request_is_observed_with_its_client_and_what_is_no_clients_is_not(ops_server: tuple[Server, int]) -> None:
    server, port = ops_server
    body = json_request(picture(0))
    server.call("POST", INFER, body, X_Client_Id="ada")
    server.call("POST", INFER, b"{}", X_Forwarded_For="6.6.6.6, 10.0.0.1")
    server.call("POST", INFER, body)
    server.call("POST", INFER, body, X_Sightline_Probe="sentinel")
    server.call("POST", INFER, body, X_Sightline_Probe="replay", X_Client_Id="ada")
    page = json.loads(call(port, "/observations?salt=s")[1])
    assert (page["first"], page["next"], page["version"]) == (
        1,
        5,
        json.loads(server.call("GET", "/v2/models/sightline")[2])["versions"][0],
    )
    numbers, _, clients, statuses, latencies = zip(*page["requests"], strict=True)
    assert (numbers, statuses) == ((1, 2, 3, 4), (200, 400, 200, 200))
    assert clients[0] == clients[3]
    assert len(set(clients)) == 3
    assert "ada" not in clients
    assert all(latency > 0 for latency in latencies)
    assert [row[0] for row in json.loads(call(port, "/observations?after=3&salt=s")[1])["requests"]] == [4]
    assert json.loads(call(port, "/observations?after=3&salt=t")[1])["requests"][0][2] != clients[3]


def test_images_that_are_no_clients_are_not_logged(bundle: Path, tmp_path: Path) -> None:
    running = Server(bundle, "--log", str(tmp_path / "served"))
    for headers in ({}, {"X_Sightline_Probe": "replay"}, {"X_Sightline_Probe": "sentinel"}):
        assert running.call("POST", INFER, json_request(picture(0)), **headers)[0] == 200
    assert running.stop() == 0
    assert [len(file.read_text().splitlines()) for file in (tmp_path / "served").glob("*.jsonl")] == [1]


def test_another_bundle_than_the_named_one_ends_the_server(bundle: Path) -> None:
    command = [sys.executable, "-m", "sightline.serve", "--bundle", str(bundle), "--port", "0", "--digest", "f" * 64]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 65
    assert "expected ffffffffffff" in done.stderr


def test_the_server_opens_no_file_for_writing(bundle: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "def note(event, arguments):\n"
        "    if event == 'open' and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):\n"
        "        os.write(2, f'WROTE {arguments[0]}\\n'.encode())\n"
        "sys.addaudithook(note)\n"
        "from sightline.serve.server import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    running = Server(bundle, program=program, env=os.environ | {"HOME": "/nowhere", "TMPDIR": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"})
    assert running.call("POST", INFER, json_request(picture(0)))[0] == 200
    running.process.send_signal(signal.SIGTERM)
    _, errors = running.process.communicate(timeout=30)
    assert running.process.returncode == 0
    wrote = {line for line in errors.decode().splitlines() if line.startswith("WROTE")} - {"WROTE /dev/null"}
    assert wrote == set()


def call(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
