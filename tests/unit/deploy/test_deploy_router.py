"""A real router between real sockets; the servers behind it misbehave in every way that a server can."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from sightline.deploy.judge import Observation
from sightline.deploy.router import Router, Routing, belongs_to_canary
from sightline.deploy.wire import Endpoint, ExchangeError, Response, read_head
from sightline.serve.observations import CLIENT_HEADER

ANSWER = json.dumps({"outputs": [{"name": "probabilities", "data": [0.25, 0.75]}]})
INFER = "/v2/models/m/infer"
Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def says(status: int, body: str = ANSWER) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())

    return behave


def sends(data: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    return behave


async def hangs(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


@dataclass
class Seen:
    responses: list[Response]
    observations: list[Observation]
    router: Router


def converse(canary: Behaviour | None, incumbent: Behaviour | None, *, clients: int = 12, share: float = 0.5, path: str = INFER) -> Seen:
    return asyncio.run(_converse(canary, incumbent, clients, share, path))


async def _converse(canary: Behaviour | None, incumbent: Behaviour | None, clients: int, share: float, path: str) -> Seen:
    servers = [await _server(behaviour) for behaviour in (canary, incumbent)]
    observations: list[Observation] = []
    urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" if server else "http://127.0.0.1:9" for server in servers]
    router = Router(
        canary=Endpoint(urls[0]),
        incumbent=Endpoint(urls[1]) if incumbent else None,
        routing=Routing(share, "salt", 0.2, 150.0),
        observe=observations.append,
    )
    endpoint = Endpoint(await router.start("127.0.0.1", 0))
    responses = [
        await endpoint.request("POST", path, headers={CLIENT_HEADER: f"c{index}"}, body=b"{}", timeout_s=5) for index in range(clients)
    ]
    endpoint.close()
    await router.close()
    for server in servers:
        if server:
            server.close()
    return Seen(responses, observations, router)


async def _server(behave: Behaviour | None) -> asyncio.Server | None:
    if behave is None:
        return None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await read_head(reader)) is not None:
                await reader.readexactly(head.length)
                await behave(writer)
                await writer.drain()
        except (ConnectionError, ExchangeError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "canary",
    [
        None,
        says(500),
        says(503),
        says(429),
        says(400, '{"error": "no"}'),
        says(200, ""),
        says(200, "{"),
        says(200, '{"outputs": []}'),
        says(200, '{"outputs": [{"name": "probabilities", "data": [NaN]}]}'),
        says(200, '{"outputs": [{"name": "probabilities", "data": []}]}'),
        says(200, "[1]"),
        sends(b""),
        sends(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf"),
        sends(b"\x00\x01\x02\r\n\r\n"),
        hangs,
    ],
)
def test_whatever_the_canary_fails_the_incumbent_answers_and_the_canary_is_blamed(canary: Behaviour | None) -> None:
    seen = converse(canary, says(200))
    assert [response.status for response in seen.responses] == [200] * 12
    blamed = {observation.client for observation in seen.observations if observation.error}
    assert blamed == {o.client for o in seen.observations if o.arm == "canary"} != set()
    assert seen.router.num_fallbacks == len(blamed)
    assert seen.router.num_client_errors == 0
    assert seen.router.arms["incumbent"].errors == 0


def test_a_request_that_both_refuse_is_the_clients_fault() -> None:
    seen = converse(says(422, '{"error": "image 0 was refused"}'), says(422, '{"error": "image 0 was refused"}'))
    assert {response.status for response in seen.responses} == {422}
    assert not any(observation.error for observation in seen.observations)
    assert seen.router.num_client_errors == 12


def test_a_failure_of_the_incumbent_is_not_hidden_by_the_canary() -> None:
    seen = converse(says(200), None)
    assert {response.status for response in seen.responses} == {200}  # without an incumbent everybody is the canary's
    seen = converse(says(200), says(500, "{}"))
    statuses = {o.arm: response.status for o, response in zip(seen.observations, seen.responses, strict=True)}
    assert statuses == {"canary": 200, "incumbent": 500}


def test_pages_other_than_inference_are_the_incumbents_and_not_evidence() -> None:
    seen = converse(says(200, "canary"), says(200, "incumbent"), path="/v2/models/m")
    assert {response.body for response in seen.responses} == {b"incumbent"}
    assert seen.observations == []


def test_a_client_stays_with_its_arm_and_the_share_is_kept() -> None:
    arms = [belongs_to_canary(f"client-{index}", share=0.3, salt="a") for index in range(4000)]
    assert arms == [belongs_to_canary(f"client-{index}", share=0.3, salt="a") for index in range(4000)]
    assert 0.27 < sum(arms) / 4000 < 0.33
    assert arms != [belongs_to_canary(f"client-{index}", share=0.3, salt="b") for index in range(4000)]
    assert not any(belongs_to_canary(str(index), share=0.0, salt="") for index in range(100))
    assert all(belongs_to_canary(str(index), share=1.0, salt="") for index in range(100))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\ncontent-length: 10000001\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
def test_the_router_refuses_what_is_not_plain_http(request_bytes: bytes) -> None:
    async def talk() -> bytes:
        router = Router(
            canary=Endpoint("http://127.0.0.1:9"), incumbent=None, routing=Routing(0.5, "s", 0.2, 150.0), observe=lambda _: None
        )
        url = await router.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(request_bytes)
        answer = await reader.read()
        writer.close()
        await router.close()
        return answer

    assert asyncio.run(talk()).startswith(b"HTTP/1.1 400 ")
