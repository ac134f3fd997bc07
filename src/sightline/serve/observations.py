"""What each request came to, kept for a while, so that a deployment that watches the server can judge client by client."""

import hashlib
import itertools
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

CLIENT_HEADER = "x-client-id"
# Requests that are not a client's: "sentinel" is answered and nothing more, "replay" counts as a client's request but is not logged.
PROBE_HEADER = "x-sightline-probe"
SENTINEL = "sentinel"
REPLAY = "replay"

CAPACITY = 16_384
_PAGE = 4096
_MAX_CLIENT = 128


@dataclass(frozen=True)
class _Request:
    number: int
    time: float
    client: str
    status: int
    seconds: float


class Observations:
    """The last ``CAPACITY`` requests of one server process, numbered from 1.

    Args:
        version: of the model, shown on each page, so that nobody takes one model's answers for another's.
    """

    def __init__(self, version: str, *, capacity: int = CAPACITY) -> None:
        self._version = version
        self._boot = uuid.uuid4().hex
        self._kept: deque[_Request] = deque(maxlen=capacity)
        self._next = 1
        self._lock = threading.Lock()

    def add(self, client: str, status: int, seconds: float) -> None:
        """Keeps one answered request; the oldest one makes room."""
        with self._lock:
            self._kept.append(_Request(self._next, time.time(), client, status, seconds))
            self._next += 1

    def page(self, after: int, salt: str) -> dict[str, Any]:
        """The requests after number ``after``, oldest first, at most 4096.

        Args:
            after: the last number that the reader has; 0 for all.
            salt: makes client names that agree between servers for readers who use the same salt, and say nothing to anybody else.

        Returns:
            ``boot``: another one means that the process is another one and numbers start again; ``first``: the oldest number that is kept;
            ``next``: the number of the request to come; ``requests``: [number, Unix time, client, HTTP status, milliseconds].
        """
        with self._lock:
            first = self._kept[0].number if self._kept else self._next
            start = max(0, after + 1 - first)
            found = list(itertools.islice(self._kept, start, start + _PAGE))
            upcoming = self._next
        requests = [
            [request.number, round(request.time, 4), _pseudonym(request.client, salt), request.status, round(request.seconds * 1e3, 3)]
            for request in found
        ]
        return {"boot": self._boot, "version": self._version, "first": first, "next": upcoming, "requests": requests}


def client_of(headers: Iterable[tuple[bytes, bytes]], peer: str) -> str:
    """Who asks: the ``x-client-id`` header, else the last address of ``x-forwarded-for`` (what the gateway saw), else the peer.

    Anybody can claim to be anybody; the name is only used to count a client's events once.
    """
    named = forwarded = ""
    for name, value in headers:
        if name == CLIENT_HEADER.encode():
            named = value.decode("latin-1")
        elif name == b"x-forwarded-for":
            forwarded = value.decode("latin-1").rpartition(",")[2].strip()
    return (named or (f"address:{forwarded}" if forwarded else f"address:{peer}"))[:_MAX_CLIENT]


def _pseudonym(client: str, salt: str) -> str:
    return hashlib.blake2b(client.encode("utf-8", "replace"), digest_size=8, key=salt.encode()[:64]).hexdigest()
