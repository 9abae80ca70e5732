"""A server that lies, against the client's real connection, session and agent: it costs the volunteer nothing."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.unit.dsage.test_connection import LittleServer, serving
from tests.unit.dsage_client.conftest import client  # noqa: F401

from dsage import wire
from dsage.connection import Connection
from dsage.errors import DSageError, RequestError, ServerAway, TooLarge
from dsage.trust import tls
from dsage.trust.envelope import Envelope
from dsage_client import agent as agents
from dsage_client.guest.reasons import Reason
from dsage_client.patience import MAX_IDLE_S


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LittleServer]:
    async with serving(tmp_path / "server") as running:
        yield running


async def asked(server: LittleServer, answer: Any) -> DSageError:
    """Return what a call ends with when the server answers so."""
    server.handler = answer
    async with await Connection.open(server.link) as conn:
        with pytest.raises(DSageError) as caught:
            await conn.call("POST", "/v1/exchange", b"", wire.ExchangeReply, token="t", timeout_s=10.0)
        return caught.value


async def test_a_body_without_end_is_given_up(server: LittleServer) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 20))

    assert isinstance(await asked(server, endless), TooLarge)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_is_sent_elsewhere(server: LittleServer, tmp_path: Path, status: int) -> None:
    async with serving(tmp_path / "other") as other:
        for link in (server.link, other.link):

            async def elsewhere(_: web.Request, to: str = link.url) -> web.Response:
                return web.Response(status=status, headers={"Location": to + "/v1/root"})

            assert str(status) in (await asked(server, elsewhere)).message
        assert other.seen == []
    assert "/v1/root" not in [request.path for request in server.seen]


async def a_line_without_end() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    while True:
        yield b"y" * 65536


async def a_first_line_without_end() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 "
    while True:
        yield b"y" * 65536


async def lines_without_end() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X: y\r\n" * 1000


async def answers_before_the_answer() -> AsyncIterator[bytes]:
    while True:
        yield b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000


async def a_chunk_that_never_begins() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;"
    while True:
        yield b"y" * 65536


@pytest.mark.parametrize(
    "head",
    [
        a_line_without_end,
        a_first_line_without_end,
        lines_without_end,
        answers_before_the_answer,
        a_chunk_that_never_begins,
    ],
)
async def test_a_head_without_end_costs_no_memory_and_little_time(
    server: LittleServer, head: Callable[[], AsyncIterator[bytes]]
) -> None:
    sent = 0

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            async for piece in head():
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
                await asyncio.sleep(0)  # drain alone does not let others run while there is room
        writer.close()

    liar = await asyncio.start_server(met, "127.0.0.1", 0, ssl=tls.server_context(server.home.tls))
    link = server.keys.link(f"https://localhost:{liar.sockets[0].getsockname()[1]}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with liar, await Connection.open(link, ca_pem=(server.home.tls / "ca.pem").read_bytes()) as conn:
        with pytest.raises(ServerAway, match=r"broke|did not answer within 1 s") as caught:
            await conn.call("POST", "/v1/exchange", b"", wire.ExchangeReply, timeout_s=1.0)
    assert sent > 0
    assert len(caught.value.message) < 700
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10, "kilobytes"


@pytest.mark.parametrize(
    "reply",
    [
        None, [], "units", {"retry_s": -1.0}, {"retry_s": float("nan")}, {"retry_s": float("inf")}, {"abort": ["1"]},
        {"units": [{"replica": -1}]}, {"units": {}}, {"acks": [None]}, {"root_version": "newest"}, {"spread_s": -5},
    ],
)  # fmt: skip
async def test_replies_of_another_kind_are_refused(server: LittleServer, reply: Any) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.msgpack.encode(reply), content_type=wire.MEDIA_TYPE)

    error = await asked(server, answer)
    assert isinstance(error, RequestError)
    assert "makes no sense" in error.message


@pytest.mark.parametrize("retry_s", [365 * 86400.0, 1e12, 1e300])
async def test_a_gigantic_retry_time_is_an_hour_at_most(client: Any, retry_s: float) -> None:  # noqa: F811
    client.server.retry_s, client.server.reason, client.server.hold_calls = retry_s, "go away", False
    async with client.running() as agent:
        await client.until(lambda: agent._patience.idle_s > 0)
        assert agent._patience.idle_s <= MAX_IDLE_S
        assert next(event for event in client.events if event.kind == "waiting").data["retry_s"] <= MAX_IDLE_S


@pytest.mark.parametrize("deadline_s", [1e300, 365 * 86400.0])
async def test_a_gigantic_deadline_changes_nothing(client: Any, deadline_s: float) -> None:  # noqa: F811
    async with client.running():
        await client.server.give(1, deadline_s=deadline_s)
        await client.until(lambda: client.server.ended)
    assert client.server.statuses() == {1: "done"}


async def test_an_older_root_is_not_believed_and_the_newer_one_holds(client: Any) -> None:  # noqa: F811
    old: Envelope = client.server.root
    async with client.running() as agent:
        await client.server.new_root(5)
        await client.until(lambda: agent.session.chain.root.version == 5)
        client.server.root = old
        with pytest.raises(DSageError, match="version"):
            await agent.session.refresh_root()
        assert agent.session.chain.root.version == 5


async def test_an_old_root_for_ever_runs_out_and_work_with_it(
    client: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agents, "RESTING_S", 0.01)
    now = time.time()
    await client.server.new_root(1, issued=now - 400 * 86400.0, expires=now - 35 * 86400.0)
    await client.server.give(1)
    async with client.running() as agent:
        await client.until(lambda: len(client.server.exchanges) > 3)
        assert {message.want for message in client.server.exchanges} == {0}
        reason, words, _ = agent.why
        assert reason is Reason.TROUBLE
        assert words.startswith("root.json expired on ")
        assert client.kinds().count("untrusted") == 1
        await client.server.new_root(2)
        await client.until(lambda: client.server.ended)
    assert client.server.statuses() == {1: "done"}


async def test_thousands_of_aborts_of_what_is_not_held_do_nothing(client: Any) -> None:  # noqa: F811
    client.runner.gate.clear()
    async with client.running() as agent:
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        async with asyncio.timeout(60):
            await agent.slots.abort([*range(2, 200_000)] * 2, "asked")
        assert list(client.runner.running) == [1]
        assert "aborted" not in client.kinds()
