"""How the server is, as its parts last said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsage_server.store import credit, recount, vitals
from dsage_server.store.engine import Store
from dsage_server.store.meta import remember
from dsage_server.store.testing import fresh
from dsage_server.web.public.status import parts
from dsage_server.web.testing import World

NOW = 1_800_000_000.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty world, with the tables' triggers."""
    from dsage_server.store.migrate import upgrade

    path = fresh(tmp_path)
    upgrade(path)
    store = Store(path)
    yield World(store, NOW)
    store.close()


def states(world: World) -> dict[str, str]:
    """Return the state of each part."""
    return {part.name: part.state for part in parts(world.store.read_now(lambda c: vitals.vitals(c, NOW)), NOW)}


def test_a_server_that_never_spoke_is_late_and_what_nobody_said_is_unknown(world: World) -> None:
    assert states(world) == {
        "server": "late", "credit": "good", "proof": "unknown", "checks": "unknown", "hosting": "unknown"
    }  # fmt: skip


def test_parts_say_what_they_last_did(world: World) -> None:
    for name, value in (("alive", repr(NOW - 5)), ("checks", "on"), ("hosting", "off"), (recount.PROVED, "20833")):
        world.store.write_now(lambda c, n=name, v=value: remember(c, n, v))  # type: ignore[misc]
    assert states(world) == {"server": "good", "credit": "good", "proof": "good", "checks": "good", "hosting": "off"}
    assert world.store.read_now(lambda c: vitals.vitals(c, NOW)).proved == "2027-01-15"


def test_credit_that_waits_long_to_be_added_up_is_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [world.join(name) for name in ("ada", "eve")]
    (unit,) = world.step(world.submit("Late"), args=[1])
    monkeypatch.setattr(credit, "fold", lambda connection, most=0: 0)
    world.now = NOW - vitals.LATE_S - 60
    world.compute(unit, 1, *people)
    assert states(world)["credit"] == "late"


def test_windows_count_computers_and_people_once(world: World) -> None:
    world.now = NOW - 7200
    world.join("ada")
    world.now = NOW
    world.join("eve")
    found = world.store.read_now(lambda c: vitals.windows(c, NOW + 1))
    assert [(each.hosts, each.people) for each in found] == [(1, 1), (2, 2), (2, 2)]


def test_windows_are_told_as_counted_last_until_that_was_long_ago(world: World) -> None:
    world.join("ada")
    counted = world.store.read_now(lambda c: vitals.count_windows(c, NOW + 1))
    world.store.write_now(lambda c: vitals.keep_windows(c, counted, NOW + 1))
    world.join("eve")
    for at, hosts in ((NOW + 2, 1), (NOW + 1 + vitals.GOOD_S, 2), (NOW + 0.5, 2)):
        assert [each.hosts for each in world.store.read_now(lambda c, at=at: vitals.windows(c, at))] == [hosts] * 3
