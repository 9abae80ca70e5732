"""Bad input and faults at a real `dsage serve` while 64 hosts work: nothing acknowledged is lost, no credit twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import msgspec
import pytest
from fleet.prepare import make_units
from siege import HOSTS, RESTLESS, Siege, siege

from dsage import codec, wire
from dsage.errors import TooLarge, UsageError
from dsage.trust.envelope import seal

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
