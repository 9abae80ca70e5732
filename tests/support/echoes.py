"""Hosts moved by hand, of units that ask for their own arguments: they answer right or wrong; what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select

from dsage import codec
from dsage_server.store.schema import credit_entry, unit
from dsage_server.testing import Host, World, document

Answer = Callable[[int], Any]


def right(args: int) -> int:
    """Answer what is asked for."""
    return args


def wrong(args: int) -> int:
    """Answer something else."""
    return args + 1000


async def work(host: Host, answer: Answer = right, most: int = 50) -> list[int]:
    """A host takes what it gets, and answers; return the units."""
    got = await host.fetch(most)
    if got:
        assert set(await host.report(got, [answer(codec.decode(document(each).args)) for each in got])) == {"ok"}
    return [document(each).unit for each in got]


async def states(world: World, numbers: Sequence[int]) -> set[str]:
    """Return the states of some units."""
    query = select(unit.c.state).where(unit.c.id.in_(numbers))
    return set(await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()))


async def earned(world: World, host: Host) -> int:
    """Return what stands in the ledger for a volunteer, in thousandths."""
    query = select(func.sum(credit_entry.c.amount_milli)).where(credit_entry.c.volunteer_id == host.volunteer)
    return int(await world.running.hub.store.read(lambda c: c.execute(query).scalar_one()))
