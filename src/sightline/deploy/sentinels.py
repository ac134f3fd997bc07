"""Golden images whose answers the gate has seen, replayed through the live canary: it must answer as the model that was judged."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sightline.data.locations import read_images
from sightline.deploy.wire import Endpoint, ExchangeError
from sightline.errors import DataError
from sightline.models.bundle import ModelBundle
from sightline.runtimes.inference import probabilities_of, request_for
from sightline.serve.observations import PROBE_HEADER, SENTINEL

# Threads and batch sizes change the last digits of an answer, a wrong preprocessing changes the first.
CONFIDENCE_TOLERANCE = 0.02
_AT_A_TIME = 4
# A failed request is the guardrails' business; a sentinel judges answers. In the drill one request in five fails.
_ATTEMPTS = 8
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Sentinel:
    """One golden image and what the gated model answered.

    Attributes:
        data: the file's bytes.
        predicted: class index.
        confidence: probability of that class.
    """

    sample_id: str
    data: bytes
    predicted: int
    confidence: float


def load_sentinels(bundle: ModelBundle, num: int) -> tuple[Sentinel, ...]:
    """At most ``num`` golden images, taken in turn from each predicted class, so that every class is asked for.

    Raises:
        DataError: no golden image can be read; without one nothing shows that the served model is the judged one.
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(bundle.artifact.file("golden.parquet"), columns=["sample_id", "location", "predicted", "confidence"]).to_pylist()
    by_class: dict[int, list[dict[str, object]]] = {}
    for row in sorted(rows, key=lambda row: str(row["sample_id"])):
        by_class.setdefault(int(row["predicted"]), []).append(row)
    longest = max((len(group) for group in by_class.values()), default=0)
    in_turn = [by_class[label][index] for index in range(longest) for label in sorted(by_class) if index < len(by_class[label])]
    files = read_images((str(row["location"]), str(row["sample_id"])) for row in in_turn)
    readable = ((row, data) for row, data in zip(in_turn, files, strict=True) if isinstance(data, bytes))
    found = [
        Sentinel(str(row["sample_id"]), data, int(str(row["predicted"])), float(str(row["confidence"])))
        for row, data in itertools.islice(readable, num)
    ]
    if not found:
        raise DataError(
            "no golden image can be read, so nothing shows that the served model is the judged one", remedy="restore the images"
        )
    return tuple(found)


async def wrong_answers(endpoint: Endpoint, model: str, sentinels: Sequence[Sentinel], *, timeout_s: float) -> list[str]:
    """What is wrong with the live answers, one line per sentinel; empty when all are as the gate saw them.

    Args:
        endpoint: the canary's server.
        model: the model's name in URLs.
        sentinels: the images to ask for.
        timeout_s: for all of them together; a server that does not answer in time does not answer as the gated model.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _problems(endpoint, model, sentinels)
    except TimeoutError:
        return [f"{len(sentinels)} sentinels were not answered within {timeout_s:g} s"]


async def _problems(endpoint: Endpoint, model: str, sentinels: Sequence[Sentinel]) -> list[str]:
    gate = asyncio.Semaphore(_AT_A_TIME)

    async def check(sentinel: Sentinel) -> str:
        async with gate:
            return await _problem(endpoint, model, sentinel)

    return [problem for problem in await asyncio.gather(*map(check, sentinels)) if problem]


async def _problem(endpoint: Endpoint, model: str, sentinel: Sentinel) -> str:
    name = sentinel.sample_id[:12]
    message = request_for(sentinel.data)
    headers = {**message.headers, PROBE_HEADER: SENTINEL}
    last = ""
    for _ in range(_ATTEMPTS):
        try:
            response = await endpoint.request("POST", f"/v2/models/{model}/infer", headers=headers, body=message.body, timeout_s=_TIMEOUT_S)
        except ExchangeError as error:
            last = str(error)
            continue
        if response.status == 200:
            return _difference(probabilities_of(response.body), sentinel)
        last = f"status {response.status}"
    return f"{name}: no answer in {_ATTEMPTS} attempts ({last})"


def _difference(probabilities: Sequence[float], sentinel: Sentinel) -> str:
    name = sentinel.sample_id[:12]
    if not probabilities:
        return f"{name}: the answer has no finite probabilities"
    predicted = max(range(len(probabilities)), key=probabilities.__getitem__)
    if predicted != sentinel.predicted:
        return f"{name}: class {predicted} instead of {sentinel.predicted}"
    if not abs(probabilities[predicted] - sentinel.confidence) <= CONFIDENCE_TOLERANCE:
        return f"{name}: confidence {probabilities[predicted]:.3f} instead of {sentinel.confidence:.3f}"
    return ""
