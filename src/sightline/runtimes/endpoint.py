"""A live server of the Open Inference Protocol v2 as one more thing that answers golden images."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightline.errors import DataError, EnvironmentFault, SightlineError, TemporaryError, UsageError
from sightline.evaluate.predict import Answers, to_answers
from sightline.runtimes.inference import InferAnswer, parse_answer, request_for
from sightline.store.digest import sha256_bytes

if TYPE_CHECKING:
    import httpx

    from sightline.data.version import Split

MAX_ANSWER_BYTES = 1_000_000
_ATTEMPTS = 4
_BACKOFF_S = 0.1
# For one call of ``ask`` in all: a server that is gone must not cost a wait per image.
_RETRIES = 40
_COME_BACK = frozenset({429, 503})
# Servers round and use 16-bit floats; further off is not a softmax.
_TOLERANCE = 0.01
_TIE = 1e-3


@dataclass(frozen=True)
class Served:
    """What an endpoint says it serves.

    Attributes:
        digest: of the model bundle; empty when it does not say.
        variant: the compiled variant; empty when it does not say.
        classes: class names in the order of its probabilities.
        versions: the versions that an answer may name; empty when it does not say.
    """

    digest: str
    variant: str
    classes: tuple[str, ...]
    versions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Live:
    """What an endpoint answered.

    Attributes:
        answers: one per image; invalid where nothing usable came.
        served: what it says it serves, the same before and after the images.
        problems: why answers are invalid, one line per image.
    """

    answers: Answers
    served: Served
    problems: tuple[str, ...] = ()


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    classes: tuple[str, ...] = ()
    digest: str = ""


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    platform: str = ""
    versions: tuple[str, ...] = ()
    parameters: _Parameters = Field(default_factory=_Parameters)


class _NoResponseError(Exception):
    """There is no usable response; the text says why."""


class _BrokenError(_NoResponseError):
    """No connection, or it broke: another attempt may succeed."""


@dataclass(frozen=True)
class _Response:
    status: int
    body: bytes


class Endpoint:
    """A client that sends image files exactly as they are, so that decoding, preprocessing and model are judged together.

    Proxies and passwords that the environment names (``HTTP_PROXY``, ``.netrc``) are not used, certificates are those of the system, and
    redirects are not followed. Nothing is sent before the first call.

    Args:
        url: base address, ``http://host:port`` or ``https://host/path``.
        model: the model's name in URLs.
        timeout_s: for one request, from connecting to the last byte.
        deadline_s: for all images together; what is not answered by then is invalid.
        concurrency: requests at a time.

    Raises:
        UsageError: the address is not usable.
    """

    def __init__(
        self, url: str, *, model: str = "sightline", timeout_s: float = 10.0, deadline_s: float = 300.0, concurrency: int = 4
    ) -> None:
        self.url = _checked(url)
        self.model = model
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._concurrency = max(1, concurrency)

    def served(self) -> Served:
        """What the endpoint says it serves.

        Raises:
            UsageError: there is no such model, or the address redirects.
            EnvironmentFault: nothing can be reached there, or it does not answer as such a server.
            TemporaryError: it is not ready.
            DataError: it does not say its class names.
        """
        return asyncio.run(self._served())

    def answers(self, split: Split, classes: Sequence[str]) -> Answers:
        """The answers to a split's images as class indices of the dataset; see ``ask``."""
        return self.ask(split, classes).answers

    def ask(self, split: Split, classes: Sequence[str]) -> Live:
        """The answers to a split's images. Cost: one request per image; each file is read once.

        An image without a usable answer (no response, another status than 200, not one finite probability per class that add up to 1, a
        label that is not the most probable class, another version of the model than announced) has an invalid answer, which is never
        correct. Broken connections and the answers 429 and 503 are tried again, at most 3 times per image and 40 times in all.

        Args:
            split: the images; their files are sent after their digests were checked.
            classes: the dataset's class names in label order; the endpoint's own may differ in order and number.

        Raises:
            DataError: a file is gone or was altered since it was ingested, or the endpoint knows none of the classes.
            TemporaryError: the endpoint serves another model after the images than before.
            SightlineError: as ``served``.
        """
        return asyncio.run(self._ask(split, classes))

    async def _served(self) -> Served:
        async with self._session() as session:
            return await session.served()

    async def _ask(self, split: Split, classes: Sequence[str]) -> Live:
        async with self._session() as session:
            served = await session.served()
            if not set(served.classes) & set(classes):
                known = ", ".join(served.classes[:10])
                raise DataError(f"{self.url} knows none of the classes {', '.join(classes[:10])}; it knows: {known}")
            rows = await session.rows(split, served)
            if await session.served() != served:
                raise TemporaryError(f"{self.url} changed its model while it was judged", remedy="run again when the roll-out is finished")
        nothing = np.full(len(served.classes), np.nan, np.float32)
        probabilities_NC = np.array([nothing if isinstance(row, str) else row for row in rows], np.float32).reshape(len(rows), len(nothing))
        problems = tuple(f"{location}: {row}" for location, row in zip(split.locations, rows, strict=True) if isinstance(row, str))
        return Live(to_answers(split.sample_ids, probabilities_NC, served.classes, classes), served, problems)

    def _session(self) -> _Session:
        return _Session(self.url, self.model, _Limits(self._timeout_s, self._deadline_s, self._concurrency))


@dataclass(frozen=True)
class _Limits:
    timeout_s: float
    deadline_s: float
    concurrency: int


class _Session:
    """Connections to one endpoint, and what may still be spent on it."""

    def __init__(self, url: str, model: str, limits: _Limits) -> None:
        self._url = url
        self._model = model
        self._page = f"{url}/v2/models/{quote(model, safe='')}"
        self._limits = limits
        self._deadline = math.inf
        self._retries_left = _RETRIES
        self._at_a_time = asyncio.Semaphore(limits.concurrency)

    async def __aenter__(self) -> _Session:
        import httpx

        verify = ssl.create_default_context() if self._url.startswith("https:") else False
        pool = httpx.Limits(max_connections=self._limits.concurrency, max_keepalive_connections=self._limits.concurrency)
        self._client = httpx.AsyncClient(
            verify=verify, trust_env=False, follow_redirects=False, timeout=self._limits.timeout_s, limits=pool
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def served(self) -> Served:
        try:
            response = await self._persistently("GET", self._page)
        except _NoResponseError as error:
            remedy = "check the address, that the server runs, and that this machine may reach it"
            raise EnvironmentFault(f"no answer from {self._url}: {error}", remedy=remedy) from None
        if response.status != 200:
            raise _refusal(self._url, self._model, response.status)
        try:
            page = _Page.model_validate_json(response.body)
        except ValidationError:
            raise EnvironmentFault(f"{self._page} is not the page of a model (Open Inference Protocol v2)") from None
        classes = page.parameters.classes
        if len(classes) < 2 or len(set(classes)) != len(classes):
            remedy = "serve the bundle with sightline serve, or add parameters.classes to the model's metadata"
            raise DataError(f"{self._page} does not say the names of its classes, each once", remedy=remedy)
        return Served(page.parameters.digest, page.platform, classes, page.versions)

    async def rows(self, split: Split, served: Served) -> list[tuple[float, ...] | str]:
        """Per image its probabilities, or why there are none."""
        damaged: list[str] = []
        self._deadline = time.monotonic() + self._limits.deadline_s

        async def one(sample_id: str, location: str) -> tuple[float, ...] | str:
            async with self._at_a_time:
                data = _read(Path(location), sample_id)
                if isinstance(data, str):
                    damaged.append(f"{location}: {data}")
                    return data
                return await self._row(data, served)

        rows = await asyncio.gather(*(one(*image) for image in zip(split.sample_ids, split.locations, strict=True)))
        self._deadline = math.inf
        if damaged:
            raise DataError("some golden images cannot be sent as they were ingested", problems=damaged, remedy="restore the files")
        return rows

    async def _row(self, data: bytes, served: Served) -> tuple[float, ...] | str:
        message = request_for(data)
        try:
            response = await self._persistently("POST", f"{self._page}/infer", content=message.body, headers=dict(message.headers))
        except _NoResponseError as error:
            return str(error)
        if response.status != 200:
            return f"status {response.status}"
        answer = parse_answer(response.body)
        return "the answer cannot be read" if answer is None else _probabilities(answer, served)

    async def _persistently(self, method: str, url: str, **content: Any) -> _Response:
        """The response; one that asks to come back only when all attempts were used."""
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                response = await self._exchange(method, url, **content)
                if response.status not in _COME_BACK or last or not self._may_retry():
                    return response
            except _BrokenError:
                if last or not self._may_retry():
                    raise
            await asyncio.sleep(_BACKOFF_S * 2**attempt)
        raise _NoResponseError("no attempt was made")

    def _may_retry(self) -> bool:
        self._retries_left -= 1
        return self._retries_left >= 0

    async def _exchange(self, method: str, url: str, **content: Any) -> _Response:
        import httpx

        seconds = min(self._limits.timeout_s, self._deadline - time.monotonic())
        if seconds <= 0:
            raise _NoResponseError(f"not asked within the {self._limits.deadline_s:g} s for all images")
        headers = {"accept-encoding": "identity", **content.pop("headers", {})}
        try:
            # httpx's own limit begins anew with each part that arrives; this one holds for the whole exchange.
            async with asyncio.timeout(seconds), self._client.stream(method, url, headers=headers, **content) as response:
                return _Response(response.status_code, await _body(response))
        except TimeoutError:
            raise _NoResponseError(f"no answer within {seconds:.3g} s") from None
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise _BrokenError(str(error) or type(error).__name__) from None
        except httpx.HTTPError as error:
            raise _NoResponseError(str(error) or type(error).__name__) from None


def require_model(served: Served, digest: str, url: str) -> None:
    """Refuses an endpoint that serves another model than the one with ``digest``, or does not say which.

    Raises:
        DataError: with both digests.
    """
    if served.digest != digest:
        came = f"model {served.digest[:12]}" if served.digest else "a model without a digest"
        raise DataError(
            f"{url} serves {came}, expected {digest[:12]}", remedy="deploy the model that is to be judged, or judge the one that is served"
        )


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise UsageError("an endpoint's address must not hold a password: it is written into reports", remedy="take it out of the address")
    try:
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise UsageError(f"expected http://host:port or https://host/path, came '{url}'")
    return url.rstrip("/")


def _refusal(url: str, model: str, status: int) -> SightlineError:
    if status in _COME_BACK:
        return TemporaryError(f"{url} is not ready (status {status})", remedy="wait until the model is loaded")
    if status == 404:
        return UsageError(f"{url} serves no model '{model}'", remedy="give the model's name as in its address, /v2/models/<name>")
    if 300 <= status < 400:
        return UsageError(f"{url} redirects (status {status})", remedy="give the address that it leads to")
    return EnvironmentFault(f"{url} answers with status {status}", remedy="look into the server's log")


def _read(path: Path, sample_id: str) -> bytes | str:
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"not readable ({error.strerror or type(error).__name__})"
    return data if sha256_bytes(data) == sample_id else "altered since it was ingested"


async def _body(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _NoResponseError("the answer is compressed, which was not asked for")
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise _NoResponseError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _probabilities(answer: InferAnswer, served: Served) -> tuple[float, ...] | str:
    if answer.model_version and served.versions and answer.model_version not in served.versions:
        return f"version {answer.model_version} answered, announced is {', '.join(served.versions)}"
    values = tuple(value for value in answer.data("probabilities") if isinstance(value, float))
    if len(values) != len(served.classes) or len(values) != len(answer.data("probabilities")):
        return f"{len(answer.data('probabilities'))} probabilities for {len(served.classes)} classes"
    if not all(math.isfinite(value) and -_TOLERANCE <= value <= 1 + _TOLERANCE for value in values):
        return "the probabilities are not all between 0 and 1"
    if abs(sum(values) - 1) > _TOLERANCE:
        return f"the probabilities add up to {sum(values):.3f}"
    labels = answer.data("label")
    if labels and (len(labels) != 1 or _probability_of(labels[0], values, served.classes) < max(values) - _TIE):
        return f"label {labels[0]!r} is not the most probable class"
    return values


def _probability_of(label: float | str, values: Sequence[float], classes: Sequence[str]) -> float:
    return next((value for name, value in zip(classes, values, strict=True) if name == label), -1.0)
