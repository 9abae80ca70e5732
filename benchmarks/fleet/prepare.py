"""A server's folder with a real run, signed units and enrolled hosts, made before the server starts."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection, func, insert, select

from dsage import codec, wire
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.documents import Authorisation
from dsage.trust.keys import PrivateKey
from dsage_server.pseudonyms import pseudonym
from dsage_server.signing import sign_units
from dsage_server.store import runs
from dsage_server.store.engine import Store
from dsage_server.store.schema import host, run, unit, volunteer
from dsage_server.testing import HandDriver, running_server
from fleet.crowd import key_of

APP: Final = """
from dsage import DistributedFunction


class Echo(DistributedFunction):
    @staticmethod
    def compute(number):
        return number

    def process_result(self, unit, value):
        pass
"""
CHUNK: Final = 5_000


async def submit(home: Home) -> int:
    """Start a server on this home for a moment, submit a run of APP, and return the run's number."""
    with tempfile.TemporaryDirectory(prefix="dsage-fleet-") as folder:
        source = Path(folder) / "echo.py"
        source.write_text(APP)
        async with running_server(home.folder), await Researcher.open(home) as researcher:
            return (await HandDriver.submitted(researcher, f"{source}:Echo")).run


def add_hosts(home: Home, count: int, *, seed: str = "fleet", first: int = 0) -> None:
    """Enrol simulated hosts, each a volunteer of its own; those that are there already stay."""
    now = time.time()

    def change(connection: Connection) -> None:
        there = set(connection.execute(select(host.c.key)).scalars())
        keys = [key for key in (key_of(seed, first + n).public for n in range(count)) if key not in there]
        names = iter({f"{pseudonym()} {secrets.token_hex(4)}" for _ in keys})
        for key in keys:
            number = connection.execute(
                insert(volunteer).values(pseudonym=next(names), public=False, created=now).returning(volunteer.c.id)
            ).scalar_one()
            connection.execute(insert(host).values(volunteer_id=number, key=key, created=now))

    _write(home, change)


def add_units(home: Home, number: int, count: int) -> None:
    """Make units of a run, signed as the server signs them; a server that starts later hands them out."""
    unit_key = PrivateKey.load(home.unit_key)
    now = time.time()
    made = 0

    def change(connection: Connection, size: int) -> None:
        found = runs.info(connection, number)
        step = connection.execute(select(run.c.fence, run.c.step).where(run.c.id == number)).one()
        envelope = runs.find_document(connection, found.authorisation)
        authorisation = msgspec.json.decode(envelope.payload, type=Authorisation)
        first = runs.reserve_unit_ids(connection, size)
        new = [wire.NewUnit(key=str(first + n), args=codec.encode(first + n)) for n in range(size)]
        signed = sign_units(unit_key, authorisation, found.authorisation, first, new, now)
        what = wire.Step(fence=step.fence, step=step.step + 1, units=new, state=b"")
        runs.commit_step(connection, number, found.researcher, what, signed, now)

    while made < count:
        size = min(CHUNK, count - made)
        _write(home, partial(change, size=size))
        made += size


def ready_units(home: Home) -> int:
    """Return how many units wait to be handed out."""
    return _write(home, lambda c: c.execute(select(func.count()).where(unit.c.state == "ready")).scalar_one())


def _write(home: Home, change: Callable[[Connection], int | None]) -> int:
    store = Store(home.server / "dsage.sqlite")
    try:
        return store.write_now(change) or 0
    finally:
        store.close()
