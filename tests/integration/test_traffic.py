"""What a computer that waits for work costs its owner's line: bytes of a call, counted on the wire, and of a day."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dsage import wire
from dsage.connection import Connection, Transport, fetch_chain
from dsage.errors import BadSignature
from dsage.trust.invite import SYSTEM_CA, Link
from dsage_client import policy
from dsage_client.parts import SELDOM_S
from dsage_client.session import Session
from dsage_client.settings import Settings
from dsage_server.sessions import TOKEN_S
from dsage_server.testing import Host, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_S = 86_400.0
BAR_BYTES = 2_000_000
PACKET_BYTES = 52
"""Headers of IPv4 and of TCP with time stamps."""
PACKETS = 4
"""A call on a connection that stands is one packet each way, and an acknowledgement of each."""
MEETING_PACKETS = 16
"""What a new connection adds: three to meet, four to part, the flights of TLS with their acknowledgements."""
CALLS = 5
TURNS = 50
"""Of the event loop, until a client has seen that its connection is cut."""


@dataclass
class Meter:
    """Counts what passes through it, both ways. `cut` ends every connection."""

    port: int
    bytes: int = 0
    ends: list[asyncio.StreamWriter] = field(default_factory=list)

    def cut(self) -> None:
        for writer in self.ends:
            writer.transport.abort()
        self.ends.clear()


@asynccontextmanager
async def metered(port: int) -> AsyncIterator[Meter]:
    """Listen on a free port and pass everything on to `port`."""
    passing: set[asyncio.Task[None]] = set()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                meter.bytes += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection("127.0.0.1", port)
        meter.ends += [writer, onward[1]]
        for ends in ((reader, onward[1]), (onward[0], writer)):
            task = asyncio.create_task(passed(*ends))
            passing.add(task)
            task.add_done_callback(passing.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    meter = Meter(server.sockets[0].getsockname()[1])
    async with server:
        yield meter
        for task in list(passing):
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)


@asynccontextmanager
async def line(host: Host) -> AsyncIterator[tuple[Meter, Session, Link]]:
    """A client's session with a server, over a metered line."""
    link = host.conn.link
    async with AsyncExitStack() as stack:
        meter = await stack.enter_async_context(metered(int(link.url.rpartition(":")[2])))
        near = Link(f"https://127.0.0.1:{meter.port}", link.server_id, link.ca, link.root)
        conn = await stack.enter_async_context(await Connection.open(near, ca_pem=host.conn.ca_pem))
        chain, _ = await fetch_chain(conn, near, time.time())

        async def connect() -> Transport:
            return conn

        info = wire.HostInfo(
            client="dsage/1.0.0", platform="linux-x86_64", cores=8, memory_bytes=1 << 34, sandbox="bubblewrap",
            offers=[f"package-{n}" for n in range(20)], features=["inputs"], name="a computer",
        )  # fmt: skip
        yield meter, Session(connect, host.key, chain, lambda envelope: None, info), near


async def called(meter: Meter, session: Session, calls: int = CALLS, *, cut: bool = False) -> float:
    """Return how many bytes a call takes that brings no work; `cut` ends the connection before each."""
    began = meter.bytes
    for _ in range(calls):
        if cut:
            meter.cut()
            for _ in range(TURNS):
                await asyncio.sleep(0)
        reply = await session.exchange(wire.Exchange(want=8, wait_s=0.0 if cut else 0.05), [])
        assert not reply.units
    return (meter.bytes - began) / calls


async def test_a_day_of_waiting_is_at_most_two_megabytes(world: World) -> None:
    async with line(await world.host()) as (meter, session, _):
        meeting = await called(meter, session, 1)
        held = await called(meter, session)
        asked = meter.bytes
        await session.ask("GET", "/v1/account", wire.AccountView)
        asked = meter.bytes - asked
    headers = PACKETS * PACKET_BYTES
    rest = DAY_S / TOKEN_S * (meeting + headers) + DAY_S / SELDOM_S * (asked + headers)
    day = DAY_S / wire.MAX_WAIT_S * (held + headers) + rest
    assert day <= BAR_BYTES, f"{held:.0f} bytes a held call and {meeting:.0f} a login make {day / 1e6:.2f} MB a day"


@pytest.mark.parametrize("longest_s", [0.0, policy.SHORTEST_HOLD_S, 40.0, policy.CHEAP_HOLD_S])
async def test_so_is_a_day_on_a_network_that_cuts_what_is_silent(world: World, longest_s: float) -> None:
    async with line(await world.host()) as (meter, session, _):
        meeting = await called(meter, session, 1)
        held = await called(meter, session)
        anew = await called(meter, session, cut=True)
        assert anew > 2 * held, "the connection was cut, and made anew"
    headers, more = PACKETS * PACKET_BYTES, MEETING_PACKETS * PACKET_BYTES
    spacing_s = policy.spacing_s(longest_s, [], busy=False)
    rest = DAY_S / TOKEN_S * (meeting + headers) + DAY_S / SELDOM_S * (anew + headers + more)
    each = anew + headers + more if spacing_s else held + headers
    day = DAY_S / max(spacing_s, longest_s) * each + rest
    assert day <= BAR_BYTES, f"{held:.0f} bytes a held call, {anew:.0f} an anew one: {day / 1e6:.2f} MB a day"


async def test_so_is_a_day_behind_somebody_who_opens_the_encryption(world: World, tmp_path: Path) -> None:
    async with line(await world.host()) as (meter, _, near):
        stranger = Link(near.url, near.server_id, SYSTEM_CA, near.root)
        began = meter.bytes
        async with await Connection.open(stranger) as conn:
            with pytest.raises(BadSignature):
                await conn.call("GET", "/v1/root")
        tried = meter.bytes - began + (PACKETS + MEETING_PACKETS) * PACKET_BYTES
    high_s = Settings(folder=tmp_path).backoff_high_s * policy.DISTRUST
    waits = [policy.backoff_s(n, 0.0, low_s=0.5, high_s=high_s) for n in range(math.ceil(2 * DAY_S / high_s))]
    day = sum(1 for n in range(len(waits)) if sum(waits[:n]) < DAY_S) * tried
    assert day <= BAR_BYTES, f"{tried} bytes a try make {day / 1e6:.2f} MB a day"
