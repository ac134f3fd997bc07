"""HTTP/1.1 over kept connections, as little of it as the router and its clients need: about 0.1 ms of CPU per exchange."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sightline.errors import UsageError

MAX_HEAD_BYTES = 16_384
MAX_BODY_BYTES = 10_000_000


class ExchangeError(Exception):
    """No usable response: refused, cut off, too slow, or not HTTP."""


@dataclass(frozen=True)
class Response:
    """A whole response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Head:
    """The first line, split at blanks, and the headers in lower case."""

    first: tuple[str, ...]
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        """The body's length in bytes; raises ExchangeError when it cannot be known or is too large."""
        if "transfer-encoding" in self.headers:
            raise ExchangeError("a body without Content-Length")
        text = self.headers.get("content-length", "0")
        if not text.isdigit() or int(text) > MAX_BODY_BYTES:
            raise ExchangeError("a body of unknown or excessive length")
        return int(text)


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next message's head, or None when the peer closed the connection between messages.

    Raises:
        ExchangeError: not HTTP, contradictory lengths, or larger than ``MAX_HEAD_BYTES``.
    """
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise ExchangeError("the connection was closed within the headers") from None
    except asyncio.LimitOverrunError:
        raise ExchangeError("the headers are too large") from None
    first, *lines = data[:-4].decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        if not colon or (key == "content-length" and headers.get(key, value.strip()) != value.strip()):
            raise ExchangeError("malformed headers")
        headers[key] = value.strip()
    return Head(tuple(first.split(" ", 2)), headers)


def format_head(first: str, headers: Mapping[str, str], length: int) -> bytes:
    """A message's head with its Content-Length."""
    lines = [first, *(f"{name}: {value}" for name, value in headers.items()), f"content-length: {length}", "", ""]
    return "\r\n".join(lines).encode("latin-1")


class Endpoint:
    """One HTTP server; connections are kept and reused.

    Args:
        url: ``http://host:port`` or ``https://host:port``; the port may be left out. Certificates are checked against what the system
            trusts, or what ``SSL_CERT_FILE`` names.
        host: what the server is asked for and its certificate must say, where that is not the address.

    Raises:
        UsageError: another kind of address.
    """

    def __init__(self, url: str, *, host: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"expected http://host:port, came '{url}'")
        is_encrypted = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if is_encrypted else 80)
        self._asked_for = host or f"{self._host}:{self._port}"
        self._tls = ssl.create_default_context() if is_encrypted else None
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Response:
        """The response.

        Raises:
            ExchangeError: there is none within ``timeout_s``, or it is not HTTP. A kept connection that the server had closed meanwhile is
                replaced once, without an error.
        """
        message = format_head(f"{method} {path} HTTP/1.1", {"host": self._asked_for, **headers}, len(body)) + body
        try:
            async with asyncio.timeout(timeout_s):
                while self._idle:
                    response = await self._exchange(*self._idle.pop(), message)
                    if response is not None:
                        return response
                response = await self._exchange(*await self._connected(), message)
        except TimeoutError:
            raise ExchangeError(f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise ExchangeError(f"no connection: {error.strerror or type(error).__name__}") from None
        if response is None:
            raise ExchangeError("the connection was closed without an answer")
        return response

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = urlsplit(f"//{self._asked_for}").hostname if self._tls else None
        return await asyncio.open_connection(self._host, self._port, limit=MAX_HEAD_BYTES, ssl=self._tls, server_hostname=name)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> Response | None:
        """The response, or None when the server closed the connection before a single byte of it."""
        kept = False
        try:
            writer.write(message)
            head = await read_head(reader)
            if head is None:
                return None
            if len(head.first) < 2 or not head.first[1].isdigit():
                raise ExchangeError("the answer is not HTTP")
            body = await reader.readexactly(head.length)
            kept = head.headers.get("connection", "") != "close"
            return Response(int(head.first[1]), head.headers, body)
        except (ConnectionResetError, BrokenPipeError):
            return None
        except asyncio.IncompleteReadError:
            raise ExchangeError("the answer was cut off") from None
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()

    def close(self) -> None:
        """Closes the kept connections."""
        while self._idle:
            self._idle.pop()[1].close()
