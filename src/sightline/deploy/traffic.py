"""Clients that replay real image files against an endpoint."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightline.data.locations import read_images
from sightline.deploy.wire import Endpoint, ExchangeError
from sightline.errors import DataError, UsageError
from sightline.runtimes.inference import Message, request_for
from sightline.serve.observations import CLIENT_HEADER
from sightline.store.artifact import open_artifact

_MAX_FILES = 512  # kept in memory; enough that no cache of one image flatters the latency
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class TrafficReport:
    """What the clients saw.

    Attributes:
        requests: requests sent.
        errors: requests that were not answered with 200.
        statuses: answers by HTTP status; 0 stands for no answer.
        seconds: wall-clock time.
    """

    requests: int
    errors: int
    statuses: dict[int, int]
    seconds: float
    p50_ms: float
    p95_ms: float

    @property
    def requests_per_s(self) -> float:
        """Throughput; 0 for no requests."""
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass
class _Seen:
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    def add(self, status: int, latency_ms: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies_ms.append(latency_ms)


class Traffic:
    """Concurrent clients in a closed loop: each sends its next request when the last one is answered.

    Args:
        url: base URL of a server or router.
        model: the model's name in URLs.
        images: image files' bytes, sent in turn, from the first again after the last.
        prefix: of the client ids; every request is a client of its own.
        headers: sent with every request.
        host: the host name to ask for, where it is not that of the URL.
    """

    def __init__(
        self, url: str, model: str, images: Sequence[bytes], *, prefix: str, headers: Mapping[str, str] | None = None, host: str = ""
    ) -> None:
        if not images:
            raise UsageError("there are no images to replay")
        self._endpoint = Endpoint(url, host=host)
        self._path = f"/v2/models/{model}/infer"
        self._messages: Iterator[Message] = itertools.cycle([request_for(data) for data in images])
        self._ids = itertools.count(1)
        self._prefix = prefix
        self._headers = dict(headers or {})
        self._stopped = False
        self._seen = _Seen()

    def stop(self) -> None:
        """Lets each client finish its request and end."""
        self._stopped = True

    async def run(self, *, num_clients: int, num_requests: int | None) -> TrafficReport:
        """Sends until ``num_requests`` are sent (None: without end) or ``stop`` is called."""
        started = time.perf_counter()
        try:
            await asyncio.gather(*(self._client(num_requests) for _ in range(num_clients)))
        finally:
            self._endpoint.close()
        return self._report(time.perf_counter() - started)

    async def _client(self, num_requests: int | None) -> None:
        while not self._stopped:
            number = next(self._ids)
            if num_requests is not None and number > num_requests:
                return
            await self._send(number, next(self._messages))

    async def _send(self, number: int, message: Message) -> None:
        headers = {**message.headers, **self._headers, CLIENT_HEADER: f"{self._prefix}-{number}"}
        started = time.perf_counter()
        try:
            response = await self._endpoint.request("POST", self._path, headers=headers, body=message.body, timeout_s=_TIMEOUT_S)
            status = response.status
        except ExchangeError:
            status = 0
            await asyncio.sleep(0.01)  # a server that is gone refuses at once; without a pause this would be a busy loop
        self._seen.add(status, (time.perf_counter() - started) * 1e3)

    def _report(self, seconds: float) -> TrafficReport:
        ordered = sorted(self._seen.latencies_ms)
        quantiles = [round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else 0.0 for share in (0.5, 0.95)]
        return TrafficReport(
            requests=len(ordered),
            errors=sum(count for status, count in self._seen.statuses.items() if status != 200),
            statuses=dict(sorted(self._seen.statuses.items())),
            seconds=round(seconds, 3),
            p50_ms=quantiles[0],
            p95_ms=quantiles[1],
        )


def replay(
    url: str, model: str, files: Sequence[Path], *, num_requests: int | None = None, num_clients: int = 4, prefix: str = "client"
) -> TrafficReport:
    """Sends image files to an endpoint and returns what the clients saw.

    Args:
        url: base URL of a server or router.
        model: the model's name in URLs.
        files: sent in turn, from the first again after the last.
        num_requests: how many requests; None: each file once.
        num_clients: requests at a time.
        prefix: of the client ids.

    Raises:
        UsageError: no files.
    """
    traffic = Traffic(url, model, [path.read_bytes() for path in files], prefix=prefix)
    return asyncio.run(traffic.run(num_clients=num_clients, num_requests=len(files) if num_requests is None else num_requests))


def load_images(dataset: Path) -> tuple[bytes, ...]:
    """Image files of a dataset version for replay: validation images, then training images, never golden ones.

    Raises:
        DataError: no file is there with the bytes that the version was made from.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(open_artifact(dataset, "dataset").file("samples.parquet"), columns=["sample_id", "location", "split"])
    rows = [row for split in ("val", "train") for row in table.to_pylist() if row["split"] == split]
    readable = (data for data in read_images((row["location"], row["sample_id"]) for row in rows) if isinstance(data, bytes))
    found = tuple(itertools.islice(readable, _MAX_FILES))
    if not found:
        raise DataError("no image of the dataset can be read, so there is nothing to replay", remedy="restore the images or ingest again")
    return found
