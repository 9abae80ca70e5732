"""What a computer that waits for work costs its owner's line: bytes of a held call, counted on the wire."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from dsage import wire
from dsage.connection import Connection, Transport, fetch_chain
from dsage.trust.invite import Link
from dsage_client.session import Session
from dsage_server.sessions import TOKEN_S
from dsage_server.testing import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_S = 86_400.0
BAR_BYTES = 2_000_000
PACKETS = 4
"""A held call is one packet each way, and an acknowledgement of each."""
PACKET_BYTES = 52
"""Headers of IPv4 and of TCP with time stamps."""
CALLS = 5


@dataclass
class Meter:
    """Counts what passes through it, both ways."""

    port: int
    bytes: int = 0


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
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection("127.0.0.1", port)
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


async def test_a_day_of_waiting_is_at_most_two_megabytes(world: World) -> None:
    host = await world.host()
    link = host.conn.link
    async with metered(int(link.url.rpartition(":")[2])) as meter:
        near = Link(f"https://127.0.0.1:{meter.port}", link.server_id, link.ca, link.root)
        conn = await Connection.open(near, ca_pem=host.conn.ca_pem)
        async with conn:
            chain, _ = await fetch_chain(conn, near, time.time())

            async def connect() -> Transport:
                return conn

            info = wire.HostInfo(
                client="dsage/1.0.0", platform="linux-x86_64", cores=8, memory_bytes=1 << 34, sandbox="bubblewrap",
                offers=[f"package-{n}" for n in range(20)], features=["inputs"], name="a computer",
            )  # fmt: skip
            session = Session(connect, host.key, chain, lambda envelope: None, info)
            began = meter.bytes
            await session.exchange(wire.Exchange(want=8, wait_s=0.05), [])
            meeting = meter.bytes - began
            began = meter.bytes
            for _ in range(CALLS):
                reply = await session.exchange(wire.Exchange(want=8, wait_s=0.05), [])
                assert not reply.units
            held = (meter.bytes - began) / CALLS
    calls, logins = DAY_S / wire.MAX_WAIT_S, math.ceil(DAY_S / TOKEN_S)
    day = calls * (held + PACKETS * PACKET_BYTES) + logins * meeting
    assert day <= BAR_BYTES, f"{held:.0f} bytes a held call and {meeting} a login make {day / 1e6:.2f} MB a day"
