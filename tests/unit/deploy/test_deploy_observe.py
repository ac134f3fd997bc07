"""What is read from the pods' pages: each request once, nothing invented, nothing overlooked in the canary's favour."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sightline.deploy.observe import STALE_S, ArmReader, Pod, Seen, pods_of
from sightline.deploy.wire import read_head
from sightline.serve.observations import Observations

VERSION = "a" * 12


class Pages:
    """A pod whose page can be anything; `page` gets the number that was asked for."""

    def __init__(self, page: Callable[[int], str | None]) -> None:
        self.page = page
        self.now = 100.0
        self.connections: list[asyncio.Task[None]] = []

    def run(self, script: Callable[["Pages", ArmReader, Pod], Awaitable[None]]) -> None:
        asyncio.run(self._run(script))

    async def _run(self, script: Callable[["Pages", ArmReader, Pod], Awaitable[None]]) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader = ArmReader("canary", version=VERSION, port=port, salt="s", clock=lambda: self.now)
        try:
            await script(self, reader, Pod("p", "127.0.0.1", ready=True))
        finally:
            reader.close()
            server.close()
            for connection in self.connections:  # each ends when the reader has closed it
                await connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.append(task)
        while (head := await read_head(reader)) is not None:
            body = self.page(int(head.first[1].partition("after=")[2].partition("&")[0]))
            if body is None:
                break
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()
        await writer.wait_closed()


def kept(server: Observations) -> Callable[[int], str]:
    return lambda after: json.dumps(server.page(after, "s"))


def latencies(found: list[Seen]) -> list[float]:
    return [round(seen.observation.latency_ms) for seen in found]


def test_each_request_is_taken_once_and_what_was_before_is_left_out() -> None:
    server = Observations(VERSION)

    async def script(_: Pages, reader: ArmReader, pod: Pod) -> None:
        server.add("old", 500, 0.001)
        await reader.skip([pod])
        assert await reader.read([pod]) == []
        for index in range(3):
            server.add(f"c{index}", (200, 500, 429)[index], 0.002 + index / 1e3)
        found = await reader.read([pod])
        assert latencies(found) == [2, 3, 4]
        assert [seen.observation.error for seen in found] == [False, True, True]
        assert len({seen.observation.client for seen in found}) == 3
        assert await reader.read([pod]) == []
        server.add("c0", 422, 0.009)
        (again,) = await reader.read([pod])
        assert again.observation.client == found[0].observation.client
        assert not again.observation.error  # a refused image is the client's fault

    Pages(kept(server)).run(script)


def test_a_pod_that_comes_later_is_read_from_its_beginning() -> None:
    server = Observations(VERSION)

    async def script(_: Pages, reader: ArmReader, pod: Pod) -> None:
        await reader.skip([])
        server.add("c", 200, 0.001)
        assert len(await reader.read([pod])) == 1

    Pages(kept(server)).run(script)


def test_a_restart_is_told_and_numbers_begin_again() -> None:
    first, second = Observations(VERSION), Observations(VERSION)
    for server, num in ((first, 5), (second, 2)):
        for index in range(num):
            server.add(f"c{index}", 200, 0.001)

    async def script(pages: Pages, reader: ArmReader, pod: Pod) -> None:
        await reader.skip([])
        assert len(await reader.read([pod])) == 5
        assert reader.restarted == ""
        pages.page = kept(second)
        assert await reader.read([pod]) == []
        assert reader.restarted == "the server in p was restarted"
        assert len(await reader.read([pod])) == 2

    Pages(kept(first)).run(script)


def test_requests_that_were_forgotten_before_they_were_read_cannot_be_measured() -> None:
    server = Observations(VERSION, capacity=4)

    async def script(_: Pages, reader: ArmReader, pod: Pod) -> None:
        await reader.skip([pod])
        for index in range(7):
            server.add(f"c{index}", 200, 0.001)
        found = await reader.read([pod])
        assert [math.isnan(seen.observation.latency_ms) for seen in found] == [True] * 3 + [False] * 4

    Pages(kept(server)).run(script)


@pytest.mark.parametrize(
    "page",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        '{"boot": "b", "version": "aaaaaaaaaaaa", "first": 1, "next": 2, "requests": [[1, 0, "c", 200]]}',
        '{"boot": "b", "version": "aaaaaaaaaaaa", "first": NaN, "next": 2, "requests": []}',
    ],
)
def test_a_page_that_cannot_be_read_is_no_evidence_and_soon_makes_blind(page: str | None) -> None:
    async def script(pages: Pages, reader: ArmReader, pod: Pod) -> None:
        await reader.skip([])
        assert await reader.read([pod]) == []
        assert reader.blind() == ""
        pages.now += STALE_S + 0.1
        assert await reader.read([pod]) == []
        assert reader.blind() == "p: no observations can be read"
        pages.page = kept(Observations(VERSION))
        await reader.read([pod])
        assert reader.blind() == ""

    Pages(lambda _: page).run(script)


def test_a_latency_that_is_no_number_stays_one() -> None:
    page = f'{{"boot": "b", "version": "{VERSION}", "first": 1, "next": 2, "requests": [[1, 0, "c", 200, NaN]]}}'

    async def script(_: Pages, reader: ArmReader, pod: Pod) -> None:
        await reader.skip([])
        (seen,) = await reader.read([pod])
        assert math.isnan(seen.observation.latency_ms)

    Pages(lambda _: page).run(script)


def test_the_page_of_another_model_is_not_evidence() -> None:
    async def script(_: Pages, reader: ArmReader, pod: Pod) -> None:
        server.add("c", 200, 0.001)
        await reader.skip([])
        assert await reader.read([pod]) == []
        assert reader.foreign == f"p serves model bbbbbbbbbbbb, expected {VERSION}"

    server = Observations("b" * 12)
    Pages(kept(server)).run(script)


def test_without_a_ready_pod_nothing_is_seen() -> None:
    async def script(_: Pages, reader: ArmReader, pod: Pod) -> None:
        await reader.read([Pod(pod.name, pod.address, ready=False)])
        assert reader.blind() == "no pod of the canary is ready"

    Pages(kept(Observations(VERSION))).run(script)


def test_pods_without_an_address_and_pods_that_are_going_are_left_out() -> None:
    def pod(name: str, status: dict[str, Any], **metadata: str) -> dict[str, Any]:
        return {"metadata": {"name": name, **metadata}, "status": status}

    ready = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    found = [pod("a", ready), pod("b", {"phase": "Pending"}), pod("c", ready, deletionTimestamp="now"), pod("d", {"podIP": "10.0.0.2"})]
    assert pods_of(found) == [Pod("a", "10.0.0.1", ready=True), Pod("d", "10.0.0.2", ready=False)]
