"""Whose last word is asked again is the same in however many looks it was chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from dsage_server.store import last_words
from dsage_server.store.engine import Store
from dsage_server.store.last_words import Choice
from dsage_server.store.schema import replica, unit
from dsage_server.store.testing import fresh
from dsage_server.web.testing import World
from dsage_validator.life import Trust

NOW = 1_800_000_000.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(fresh(tmp_path))
    yield World(store, NOW)
    store.close()


def chosen(world: World, run: int) -> tuple[list[int], int]:
    """Return what is chosen of a run, and in how many looks."""
    choice, looks = Choice(), 0
    while not choice.whole:
        choice, looks = world.store.read_now(lambda c, so_far=choice: last_words.chosen(c, run, so_far)), looks + 1
    return choice.units, looks


def test_many_looks_choose_what_one_would(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [world.join(name) for name in ("ada", "bob", "eve")]
    run = world.submit("Alone")
    numbers = world.step(run, args=list(range(9)), quorum=1)
    for place, number in enumerate(numbers):
        world.compute(number, place, people[place % 2])
    alone = {"trust": Trust.ALONE.value, "proven": None}
    world.store.write_now(lambda c: c.execute(update(replica).values(**alone)))
    world.store.write_now(lambda c: c.execute(update(unit).values(adaptive=True)))
    whole, looks = chosen(world, run)
    hosts = world.store.read_now(
        lambda c: c.execute(select(replica.c.host_id).where(replica.c.unit_id.in_(whole))).scalars().all()
    )
    assert (looks, set(hosts)) == (1, {people[0].host, people[1].host}), "one for each who answered alone"
    monkeypatch.setattr(last_words, "_ENDED", last_words._ENDED.limit(2))
    monkeypatch.setattr(last_words, "LOOKED_AT", 2)
    assert chosen(world, run) == (whole, 5)
