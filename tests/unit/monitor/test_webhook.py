import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from sightline.errors import EnvironmentFault, TemporaryError, UsageError
from sightline.monitor import webhook
from sightline.monitor.decide import Decision
from sightline.monitor.webhook import decision_key, deliver

RETRAIN = Decision(kind="retrain", reason="3 of 8 signals drifted")


class Receiver(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = statuses
        self.bodies: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/drift"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(webhook, "_PAUSE_S", 0.01)
    server = Receiver([])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_decision_is_delivered_with_a_key_that_stays_the_same(receiver: Receiver) -> None:
    for _ in range(2):
        deliver(receiver.url, RETRAIN, model="m", run_id="r")
    assert receiver.bodies[0] == {
        "decision": "retrain",
        "reason": "3 of 8 signals drifted",
        "model": "m",
        "run_id": "r",
        "key": decision_key("m", "r"),
    }
    assert receiver.bodies[1] == receiver.bodies[0]
    assert decision_key("m", "r2") != decision_key("m", "r")


@pytest.mark.parametrize("kind", ["wait", "ignore"])
def test_nobody_is_told_when_there_is_nothing_to_do(receiver: Receiver, kind: str) -> None:
    deliver(receiver.url, Decision(kind=kind, reason=""), model="m", run_id="r")
    assert receiver.bodies == []


def test_a_receiver_that_recovers_gets_the_decision(receiver: Receiver) -> None:
    receiver.statuses = [503, 429]
    deliver(receiver.url, RETRAIN, model="m", run_id="r")
    assert len(receiver.bodies) == 3


def test_a_lost_decision_is_an_error_that_may_be_retried(receiver: Receiver) -> None:
    receiver.statuses = [500, 500, 500]
    with pytest.raises(TemporaryError, match="not delivered"):
        deliver(receiver.url, RETRAIN, model="m", run_id="r")
    with pytest.raises(TemporaryError, match="not delivered"):
        deliver("http://127.0.0.1:9/", RETRAIN, model="m", run_id="r")


@pytest.mark.parametrize("status", [302, 401, 404])
def test_a_refusal_or_a_redirect_is_not_repeated(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    with pytest.raises(EnvironmentFault, match=str(status)):
        deliver(receiver.url, RETRAIN, model="m", run_id="r")
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd", "https://", "https://user:secret@host/"])
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        deliver(url, RETRAIN, model="m", run_id="r")
    assert "secret" not in str(refused.value)
