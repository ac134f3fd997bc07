import http.client
import http.server
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sightline.errors import DataError, EnvironmentFault, TemporaryError, UsageError
from sightline.store.digest import sha256_bytes, sha256_file
from sightline.store.objects import ConflictError, MissingObjectError, ObjectStore, open_store


class FlippingProxy(http.server.ThreadingHTTPServer):
    """Forwards to an S3 endpoint; flips one bit in the middle of every body of at least ``min_bytes`` that a GET returns."""

    daemon_threads = True

    def __init__(self, upstream: str, min_bytes: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream = urlsplit(upstream).netloc
        self.min_bytes = min_bytes
        self.flips_left = 10**9
        self.fail_left = 0


class _Forward(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlippingProxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.fail_left > 0:
            self.server.fail_left -= 1
            self._answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
            return
        connection = http.client.HTTPConnection(self.server.upstream)
        connection.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
        answer = connection.getresponse()
        content = answer.read()
        if self.command == "GET" and len(content) >= self.server.min_bytes and self.server.flips_left > 0:
            self.server.flips_left -= 1
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in {"transfer-encoding", "connection"}]
        connection.close()
        self._answer(answer.status, headers, content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "date", "server"}:
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), None)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlippingProxy]:
    server = FlippingProxy(endpoint, min_bytes=1000)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return open_store(str(tmp_path / "objects"))
    request.getfixturevalue("endpoint")
    return open_store(f"s3://bucket/{uuid.uuid4().hex}")


def test_what_is_written_is_read(store: ObjectStore) -> None:
    store.write("a/b.json", b"content")
    assert store.read("a/b.json") == b"content"
    assert store.read("a/b.json", sha256=sha256_bytes(b"content")) == b"content"


def test_content_that_is_not_what_the_digest_says_is_an_error(store: ObjectStore) -> None:
    store.write("a", b"content")
    with pytest.raises(DataError, match="does not match its SHA-256"):
        store.read("a", sha256=sha256_bytes(b"other"))


def test_a_missing_object_is_told_from_a_damaged_one(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(MissingObjectError):
        store.read("a")
    with pytest.raises(MissingObjectError):
        store.etag("a")
    with pytest.raises(MissingObjectError):
        store.download("a", tmp_path / "a", sha256="0" * 64)
    assert not (tmp_path / "a").exists()


def test_create_only_refuses_other_content_and_accepts_the_same_again(store: ObjectStore) -> None:
    store.write("a", b"first", if_absent=True)
    store.write("a", b"first", if_absent=True)
    with pytest.raises(ConflictError):
        store.write("a", b"second", if_absent=True)
    assert store.read("a") == b"first"


def test_a_conditional_replacement_needs_the_current_etag(store: ObjectStore) -> None:
    old = store.write("a", b"1")
    new = store.write("a", b"2", if_match=old)
    assert new == store.etag("a") != old
    with pytest.raises(ConflictError):
        store.write("a", b"3", if_match=old)
    assert store.read("a") == b"2"


@pytest.mark.parametrize("condition", ["if_absent", "if_match"])
def test_of_eight_conditional_writers_exactly_one_wins(store: ObjectStore, condition: str) -> None:
    etag = store.write("race", b"start") if condition == "if_match" else ""
    barrier, outcomes = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        try:
            store.write("race", b"%d" % number, if_absent=condition == "if_absent", if_match=etag)
            outcomes.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1
    assert store.read("race") == b"%d" % outcomes[0]


def test_keys_are_listed_by_prefix_in_order(store: ObjectStore) -> None:
    for key in ("b/2", "b/1", "b2/1", "a", "b/c/d"):
        store.write(key, b"x")
    assert store.list("b/") == ["b/1", "b/2", "b/c/d"]
    assert store.list("b") == ["b/1", "b/2", "b/c/d", "b2/1"]
    assert store.list("nothing/") == []
    store.delete("b/1")
    store.delete("b/1")
    assert store.list("b/") == ["b/2", "b/c/d"]


def test_a_file_comes_back_as_it_was(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(bytes(range(256)) * 5000)
    digest = store.upload(source, "models/model.onnx")
    store.download("models/model.onnx", tmp_path / "back" / "model.onnx", sha256=digest)
    assert sha256_file(tmp_path / "back" / "model.onnx") == digest == sha256_file(source)


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", ".a", "a/.b", "a/", "a\0b"])
def test_a_key_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="not an object key"):
        open_store(str(tmp_path)).write(key, b"x")


@pytest.mark.parametrize("uri", ["gs://bucket", "s3://", "ftp://x/y"])
def test_an_address_that_cannot_be_used_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="cannot store objects"):
        open_store(uri)


def test_writers_that_die_leave_nothing_that_is_listed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("a/b", b"x")
    (tmp_path / "a" / ".c.123").write_bytes(b"half")
    assert store.list() == ["a/b"]


def test_a_bucket_that_does_not_exist_is_an_environment_fault(endpoint: str) -> None:
    with pytest.raises(EnvironmentFault, match="no such bucket"):
        open_store("s3://nowhere/x").write("a", b"x")


def test_an_endpoint_that_does_not_answer_is_temporary(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(TemporaryError):
        open_store("s3://bucket/x").read("a")


def test_answers_of_503_are_repeated(proxy: FlippingProxy) -> None:
    proxy.fail_left = 2
    store = open_store(f"s3://bucket/{uuid.uuid4().hex}")
    store.write("a", b"x")
    assert store.read("a") == b"x"
    assert proxy.fail_left == 0


def test_a_flipped_bit_in_a_small_object_is_detected(proxy: FlippingProxy) -> None:
    store = open_store(f"s3://bucket/{uuid.uuid4().hex}")
    store.write("a", b"x" * 5000)
    with pytest.raises((DataError, TemporaryError)):
        store.read("a")


@pytest.fixture
def large_object(endpoint: str, tmp_path: Path) -> tuple[str, str, str]:
    """An object above boto3's 8 MB threshold, uploaded in parts past the proxy: prefix, key, digest."""
    source = tmp_path / "weights"
    source.write_bytes(bytes(range(251)) * 36_000)
    prefix = uuid.uuid4().hex
    digest = open_store(f"s3://bucket/{prefix}").upload(source, "weights")
    return prefix, "weights", digest


def test_a_flipped_bit_in_a_multipart_object_is_detected_where_boto3_says_nothing(
    large_object: tuple[str, str, str], proxy: FlippingProxy, tmp_path: Path
) -> None:
    import boto3

    prefix, key, digest = large_object
    boto3.client("s3").download_file("bucket", f"{prefix}/{key}", str(tmp_path / "plain"))
    assert sha256_file(tmp_path / "plain") != digest, "the negative control: plain boto3 hands out the damaged bytes without an error"

    with pytest.raises(DataError, match="does not match its SHA-256"):
        open_store(f"s3://bucket/{prefix}").download(key, tmp_path / "ours", sha256=digest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "weights"]


def test_a_transfer_that_was_damaged_once_is_repeated(large_object: tuple[str, str, str], proxy: FlippingProxy, tmp_path: Path) -> None:
    prefix, key, digest = large_object
    proxy.flips_left = 1
    open_store(f"s3://bucket/{prefix}").download(key, tmp_path / "ours", sha256=digest)
    assert sha256_file(tmp_path / "ours") == digest
    assert proxy.flips_left == 0
