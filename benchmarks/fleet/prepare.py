"""What a fleet needs at a server: enrolled hosts, and a run with signed units."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from dsage import codec, wire
from dsage.home import Home
from dsage.researcher import Researcher
from dsage_server.store import hosts
from dsage_server.store.engine import Store
from dsage_server.testing import HandDriver
from fleet.crowd import key_of

APP: Final = """
from dsage import DistributedFunction


class Echo(DistributedFunction):
    @staticmethod
    def compute(number):
        return number

    def process_result(self, unit, value):
        pass


# Its answers are judged by code of its own, which runs in the server's sandbox.
class Near(Echo):
    @staticmethod
    def agree(args, a, b):
        return abs(a - b) < 1
"""
STEP_UNITS: Final = 2_000
"""Units in one step of the driver: about a quarter of a megabyte of arguments and keys."""
ENROL_AT_ONCE: Final = 500
INVITE_S: Final = 3600.0


def enrol(where: Path | str, count: int, *, seed: str = "fleet") -> None:
    """Enrol the hosts with the numbers below `count`, each a volunteer of its own, straight in a server's database.

    The server may be running. By the protocol it would take a login each, which says nothing of its pace at work.
    """
    store = Store(where)
    try:
        code = store.write_now(lambda connection: hosts.make_invite(connection, max(1, count), INVITE_S, time.time()))
        for first in range(0, count, ENROL_AT_ONCE):
            numbers = range(first, min(count, first + ENROL_AT_ONCE))
            store.write_now(partial(_enrol, numbers=numbers, seed=seed, code=code))
    finally:
        store.close()


@asynccontextmanager
async def driving(home: Home, run: int = 0, kind: str = "Echo") -> AsyncIterator[HandDriver]:
    """Drive a run of the server that this home is logged in to: a new one of a class of APP, or the one with this
    number."""
    async with await Researcher.open(home) as researcher:
        if run:
            drive = await researcher.drive(run)
            yield HandDriver(researcher, run, drive.fence, drive.step)
            return
        with tempfile.TemporaryDirectory(prefix="dsage-fleet-") as folder:
            source = Path(folder) / "echo.py"
            source.write_text(APP)
            yield await HandDriver.submitted(researcher, f"{source}:{kind}")


async def make_units(driver: HandDriver, count: int, *, quorum: int = 2, adaptive: bool = False) -> None:
    """Make units whose arguments are numbers, step by step, as a researcher's driver does."""
    for made in range(0, count, STEP_UNITS):
        numbers = range(made, min(count, made + STEP_UNITS))
        await driver.commit(
            units=[
                wire.NewUnit(key=f"{driver.step}.{n}", args=codec.encode(n), quorum=quorum, adaptive=adaptive)
                for n in numbers
            ]
        )


def _enrol(connection: Connection, numbers: range, seed: str, code: str) -> None:
    for number in numbers:
        hosts.enrol(connection, key_of(seed, number).public, code, wire.Privacy(), time.time())
