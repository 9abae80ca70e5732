"""Peers that mean harm, against a real server: each is refused by name, and honest ones are still served."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from dsage import wire
from dsage.errors import (
    BadSignature,
    NotAllowed,
    Replayed,
    TooLarge,
    TrustError,
    UsageError,
    WrongRole,
    WrongServer,
)
from dsage.trust.documents import Login
from dsage.trust.envelope import Envelope, Signature, seal, seal_bytes
from dsage_server import exchange, sessions
from dsage_server.testing import Host, World, running_server


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def challenge(host: Host) -> wire.ChallengeReply:
    return await host.conn.call("POST", "/v1/challenge", None, wire.ChallengeReply)


def greeting(host: Host, fresh: wire.ChallengeReply, **changes: Any) -> Login:
    login = Login(
        server_id=fresh.server_id,
        challenge=fresh.challenge,
        ca=host.conn.link.ca,
        key=host.key.public,
        role="host",
    )
    return msgspec.structs.replace(login, **changes)


async def enter(host: Host, envelope: Envelope) -> None:
    await host.conn.call("POST", "/v1/login", envelope, wire.LoginReply)


async def test_envelopes_that_were_bent_open_nothing(world: World) -> None:
    host = await world.host()
    fresh = await challenge(host)
    login = greeting(host, fresh)
    good = seal(login, host.key)
    twice = good.payload[:-1] + b',"role":"researcher"}'
    many = [Signature(host.key.public, bytes(64))] * 17
    bent: list[tuple[Envelope, type[TrustError]]] = [
        (Envelope(good.payload_type, good.payload, many), BadSignature),
        (Envelope(good.payload_type, good.payload, [Signature(host.key.public, b"")]), BadSignature),
        (Envelope(good.payload_type.replace("login", "enrol"), good.payload, good.signatures), WrongRole),
        (seal_bytes(Login.payload_type, twice, host.key), TrustError),
        (seal_bytes(Login.payload_type, b"[" * 10_000, host.key), TrustError),
        (seal_bytes(Login.payload_type, good.payload[:-1] + b',"more":1}', host.key), TrustError),
    ]
    for envelope, refusal in bent:
        with pytest.raises(refusal):
            await enter(host, envelope)
    await enter(host, good)


async def test_nesting_without_end_is_a_body_that_makes_no_sense(world: World) -> None:
    host = await world.host()
    for data in (b"\x91" * 1_000_000, b"\x81\xa4host" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        with pytest.raises(UsageError):
            await host.conn.call("POST", "/v1/exchange", data[: 1 << 19], bytes, token=host.token)
    assert await host.fetch() == []


async def test_a_host_that_claims_the_world_is_refused(world: World) -> None:
    host = await world.host()
    everything = [wire.Holding(replica=n, lease=b"") for n in range(exchange.MAX_HOLDING + 1)]
    with pytest.raises(TooLarge, match="copies held by one host"):
        await host.exchange(holding=everything)
    assert len((await host.exchange(holding=everything[:-1])).abort) == exchange.MAX_HOLDING
    with pytest.raises(TooLarge, match="reports in one call"):
        await host.exchange(reports=[wire.Report(replica=n) for n in range(51)])
    with pytest.raises(NotAllowed):
        await host.exchange(reports=[wire.Report(replica=1)])


async def test_guessing_copies_tells_nothing(world: World) -> None:
    owner, thief, run = await world.host(), await world.host(), await world.run()
    await run.make(1)
    got = await owner.fetch()
    never = msgspec.structs.replace(got[0], replica=got[0].replica + 1000)
    assert await thief.report(got, [1]) == await thief.report([never], [1]) == ["unknown"]
    stolen = [wire.Holding(replica=got[0].replica, lease=got[0].lease, cpu_s=1e9, suspended=True)]
    assert (await thief.exchange(holding=stolen)).abort == [got[0].replica]
    assert await owner.report(got, [1]) == ["ok"]


async def test_a_flood_of_challenges_keeps_nobody_from_logging_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_USED", 5)
    host = await world.host()
    for _ in range(20):
        await challenge(host)
    await host.sign_in()
    assert await host.fetch() == []


async def test_a_challenge_that_was_bent_used_or_kept_too_long_opens_nothing(world: World) -> None:
    host = await world.host()
    fresh = await challenge(host)
    other = await challenge(host)
    for bent in (b"", fresh.challenge[:-1], bytes(56), fresh.challenge[:24] + other.challenge[24:], bytes(100_000)):
        with pytest.raises((Replayed, TooLarge)):
            await enter(host, seal(greeting(host, fresh, challenge=bent), host.key))
    await enter(host, seal(greeting(host, fresh), host.key))
    with pytest.raises(Replayed):
        await enter(host, seal(greeting(host, fresh), host.key))
    date = world.running.hub.clock
    world.running.hub.clock = lambda: date() + sessions.CHALLENGE_S + 1.0
    with pytest.raises(Replayed):
        await enter(host, seal(greeting(host, other), host.key))


async def test_a_login_that_another_server_passes_on_opens_nothing(world: World) -> None:
    """A server that claims this one's id, with a CA of its own, hands on this one's challenge."""
    host = await world.host()
    with pytest.raises(WrongServer):
        await enter(host, seal(greeting(host, await challenge(host), ca="ab" * 32), host.key))


async def test_one_key_that_logs_in_for_ever_puts_out_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SEEN", 3)
    host, noisy = await world.host(), await world.host()
    first = noisy.token
    for _ in range(5):
        await noisy.sign_in()
        assert await noisy.fetch() == []
    assert len(world.running.hub.sessions._seen) == 3
    noisy.token = first
    assert await host.fetch() == await noisy.fetch() == []


async def test_a_stranger_s_greeting_is_short(world: World) -> None:
    host = await world.host()
    for path in ("/v1/login", "/v1/enrol"):
        with pytest.raises(TooLarge):
            await host.conn.call("POST", path, bytes(20_000), bytes)


async def test_a_researchers_run_is_out_of_reach_for_a_host(world: World) -> None:
    host, run = await world.host(), await world.run()
    for path in ("drive", "steps", "cancel"):
        with pytest.raises(NotAllowed):
            await host.conn.call("POST", f"/v1/runs/{run.run}/{path}", b"\x80", bytes, token=host.token)
    with pytest.raises(NotAllowed):
        await host.conn.call("PUT", "/v1/bundles/" + "0" * 64, b"code", bytes, token=host.token)
    assert not (world.folder / "server" / "bundles" / ("0" * 64)).exists()


async def test_peers_that_connect_and_say_nothing_cost_nobody_else_anything(world: World) -> None:
    host = await world.host()
    where = urlsplit(world.running.url)
    plain = [await asyncio.open_connection(where.hostname, where.port) for _ in range(20)]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    slow = [await asyncio.open_connection(where.hostname, where.port, ssl=context) for _ in range(20)]
    for _, writer in slow:
        writer.write(b"POST /v1/exchange HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n\x80")
    async with asyncio.timeout(20.0):
        assert await host.fetch() == []
    for _, writer in plain + slow:
        writer.close()
