"""Bad input and faults at a real `dsage serve` while 64 hosts work: nothing acknowledged is lost, no credit twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from fleet.prepare import make_units
from fleet.tally import percentile
from lab import kill
from siege import HOSTS, RESTLESS, STEADY, siege

from dsage import codec, wire
from dsage.errors import Conflict, NotFound, TooLarge, UsageError
from dsage.trust.envelope import seal
from dsage_server.testing import document, held

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KILLS = 20
MILLION = 1_000_000
DISK_BYTES = 400 << 20
"""More than the quarter of a gigabyte that a server leaves free when it takes blobs."""


async def test_a_million_units_in_one_call_are_refused_whole() -> None:
    async with siege() as under:
        driver = await under.run()
        made = f"SELECT count(*) FROM unit WHERE run_id = {driver.run}"
        before, bare = under.peak(), msgspec.msgpack.encode({"key": "1", "args": b"\x01"})
        slim = {"fence": driver.fence, "step": 1, "state": b"", "units": []}
        body = msgspec.msgpack.encode(slim)[:-1] + b"\xdd" + MILLION.to_bytes(4) + bare * MILLION
        assert len(body) < wire.MAX_BODY_BYTES
        with pytest.raises(UsageError, match="length"):
            await driver.researcher._authed("POST", f"/v1/runs/{driver.run}/steps", body, wire.StepReply)
        with pytest.raises(TooLarge):
            await driver.commit(units=[wire.NewUnit(key="1", args=b"\x01")] * MILLION)
        assert under.peak() - before < 100 << 20
        await under.goes_on()
        assert under.count(made) == 0
        assert under.troubles() == {}
        await driver.make(1, quorum=2)
        await under.until(lambda: under.count(f"{made} AND state = 'valid'") == 1)


def fill(ballast: Path) -> None:
    """Leave nothing of a disk."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


async def test_a_full_disk_stops_the_handing_out_until_there_is_room() -> None:
    async with siege(units=20_000, disk_bytes=DISK_BYTES) as under:
        ballast = under.disk / "ballast"
        await asyncio.to_thread(fill, ballast)
        await under.until(lambda: under.troubles().get("507", 0) > HOSTS)
        assert "no room" in (await under.status()).trouble
        given, refused = under.handed_out, under.troubles()["507"]
        await under.until(lambda: under.troubles()["507"] > refused + HOSTS)
        assert under.handed_out == given
        assert "no room" in under.log()
        ballast.unlink()
        await under.goes_on(1_000)
        assert (await under.status()).trouble == ""
        assert under.lives()


async def test_twenty_kills_in_the_midst_of_commits_lose_nothing() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    async with siege(units=40_000, habits=RESTLESS) as under:
        for _ in range(KILLS):
            await under.goes_on(draw.randrange(50, 2_000))
            under.kill()
            await under.start()
        await under.goes_on()
        assert under.troubles()["broken"] >= KILLS
        assert under.ask("PRAGMA integrity_check") == [("ok",)]


async def test_a_cancelled_run_stops_everywhere_and_its_hosts_get_other_work() -> None:
    async with siege(units=20_000) as under:
        first, host = under.driver, await under.host()
        got = await host.fetch(10)
        second = await under.run()
        await make_units(second, 8_000)
        waits = asyncio.create_task(host.exchange(holding=[held(each) for each in got], wait_s=50.0))
        await under.goes_on()
        await first.researcher.cancel(first.run)
        copies = f"FROM replica JOIN unit ON unit.id = replica.unit_id WHERE run_id = {first.run}"
        handed_out = under.count(f"SELECT count(*) {copies}")
        async with asyncio.timeout(2.0):
            assert sorted((await waits).abort) == sorted(each.replica for each in got)
        await under.goes_on(1_000)
        assert under.count(f"SELECT count(*) {copies}") == handed_out
        assert await host.report(got, [0] * len(got), status="aborted") == ["ok"] * len(got)
        await under.until(lambda: under.count(f"SELECT count(*) {copies} AND replica.state = 'leased'") == 0)
        other = ", ".join(str(document(each).unit) for each in await host.fetch(10))
        assert under.ask(f"SELECT DISTINCT run_id FROM unit WHERE id IN ({other})") == [(second.run,)]


async def test_a_host_that_reports_others_copies_gets_nothing_and_spoils_nothing() -> None:
    async with siege() as under:
        owner, thief = await under.host(), await under.host()
        got = await owner.fetch(5)
        assert await thief.report(got, [666] * 5) == ["unknown"] * 5
        last = under.count("SELECT max(id) FROM replica")
        for start in range(max(1, last - 1_000), last, 50):
            guessed = [msgspec.structs.replace(got[0], replica=number) for number in range(start, start + 50)]
            assert set(await thief.report(guessed, [666] * 50)) == {"unknown"}
        assert await owner.report(got, [codec.decode(document(each).args) for each in got]) == ["ok"] * 5
        under.acknowledge(got)
        await under.goes_on()
        assert under.count(f"SELECT count(*) FROM replica WHERE volunteer_id = {thief.volunteer}") == 0
        assert under.count(f"SELECT count(*) FROM credit_entry WHERE volunteer_id = {thief.volunteer}") == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"value": "0" * 64}, "refused"),
        ({"lease": b"another"}, "refused"),
        ({"app": "another"}, "refused"),
        ({"unit": 1 << 40}, "unknown"),
    ],
)
async def test_of_fifty_reports_the_49_good_ones_count(wrong: dict[str, Any], told: str) -> None:
    async with siege() as under:
        host = await under.host()
        got = await host.fetch(50)
        assert len(got) == 50
        values = [document(each).args for each in got]
        batch, reports = host.signed(got, values)
        batch.results[17] = msgspec.structs.replace(batch.results[17], **wrong)
        reply = await host.exchange(reports=reports, proof=seal(batch, host.key))
        codes = {ack.replica: ack.code for ack in reply.acks}
        assert codes.pop(got[17].replica) == told
        assert list(codes.values()) == ["ok"] * 49
        under.acknowledge(got[:17] + got[18:])
        assert under.ask(f"SELECT state FROM replica WHERE id = {got[17].replica}") == [("leased",)]
        assert await host.report(got[17:18], [codec.decode(values[17])]) == ["ok"]
        under.acknowledge(got[17:18])
        await under.goes_on()


async def test_bad_peers_are_shown_out_while_the_fleet_works() -> None:
    async with siege(units=20_000, habits=replace(STEADY, work_s=0.5, batch=3)) as under, AsyncExitStack() as stack:
        host, blob = await under.host(), os.urandom(4 << 20)
        bundle = f"/v1/bundles/{codec.digest(blob)}"
        await under.driver.researcher._authed("PUT", bundle, blob, None)
        files, before = under.files(), under.peak()
        says = partial(peer, stack, under.link().url)
        for _ in range(5_000):
            knock(stack, under.link().url)
        await under.until(lambda: under.files() > files + 4_000)
        for _ in range(20):
            await says(b"")
            await says(f"GET {bundle} HTTP/1.1\r\nHost: x\r\nDSage-Protocol: 1\r\n\r\n".encode() * 8)
        drips = [await says(head(host.token, "Content-Length: 1000") + b"\x80") for _ in range(20)]
        endless = head(host.token, "Transfer-Encoding: chunked") + 40 * (b"100000\r\n" + bytes(1 << 20) + b"\r\n")
        for status, bad in (
            (400, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n"),
            (400, b"GET /v1/hello HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 60 + b"\r\n"),
            (400, b"GET /v1/hello HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5_000 + b"\r\n\r\n"),
            (413, head(host.token, f"Content-Length: {64 << 20}")),
            (413, endless),
        ):
            assert await answer(await says(bad)) == status
        await under.goes_on(1_000)
        assert [await answer(drip) for drip in drips] == [400] * 20
        await under.until(lambda: under.files() < files + 20, within_s=60.0)
        await under.goes_on(1_000)
        assert under.troubles() == {}
        assert percentile(under.crowd.shared.tally.reporting, 0.99) < 2.0
        assert under.peak() - before < 400 << 20


def knock(stack: AsyncExitStack, url: str) -> None:
    """Connect, and say nothing, until the end of the stack."""
    where, silent = urlsplit(url), stack.enter_context(socket.socket())
    silent.setblocking(False)
    silent.connect_ex((where.hostname, where.port))


async def peer(stack: AsyncExitStack, url: str, said: bytes) -> asyncio.StreamReader:
    """Connect by TLS and say something; what comes is read by 64 kB, as far as the test reads it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context, limit=1 << 16)
    stack.callback(writer.transport.abort)
    writer.write(said)
    return reader


def head(token: str, length: str) -> bytes:
    """Return the head of a host's call with a body."""
    lines = ["POST /v1/exchange HTTP/1.1", "Host: x", "DSage-Protocol: 1", f"Authorization: Bearer {token}", length]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def answer(reader: asyncio.StreamReader) -> int:
    """Return the status of the answer that comes."""
    return int((await reader.readuntil(b"\r\n")).split()[1])


async def test_a_clock_that_is_set_by_an_hour_costs_nobody_his_lease(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    slow = replace(STEADY, work_s=2.0)
    async with siege(units=3_000, habits=slow, variables=faked(clock)) as under:
        for offset, said in (("+3600", 1), ("+0", 2)):
            clock.write_text(offset)
            await under.until(lambda times=said: under.log().count("every lease was moved along") == times)  # type: ignore[misc]
            await under.goes_on(500)
        assert under.count("SELECT count(*) FROM replica WHERE state NOT IN ('leased', 'reported', 'valid')") == 0
        assert list(+under.crowd.shared.tally.acks) == ["ok"]


def faked(clock: Path) -> dict[str, str]:
    """Return what makes a process read the date, and nothing else, from a file (libfaketime)."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        if "CI" in os.environ:
            raise NotFound("libfaketime is not installed here", hint="apt-get install faketime")
        pytest.skip("libfaketime is not installed here: apt-get install faketime")
    return {
        "LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip


async def test_a_second_server_on_the_same_file_refuses() -> None:
    async with siege() as under:
        second = under.labs[0].start("serve", "--listen", "127.0.0.1:0", log="second")
        try:
            await under.until(lambda: second.poll() is not None)
        finally:
            kill(second)
        assert second.returncode == Conflict.exit_status
        assert "a server runs on" in (under.labs[0].folder / "second.log").read_text()
        await under.goes_on()
        assert under.troubles() == {}
