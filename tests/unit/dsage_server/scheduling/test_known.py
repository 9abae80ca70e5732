"""When units whose answer is known go out: in their row, and not before."""

from __future__ import annotations

from dsage import wire
from dsage_server.scheduling.known import KnownUnits
from dsage_server.store.known import mixed
from dsage_server.store.units import Changed, Head
from dsage_validator import life
from dsage_validator.unit import Replica

HEAD = Head(1, 1000, 60.0, 1 << 30, 1 << 20, 4096, 60.0, "lab", "app")


def sent(waiting: KnownUnits, number: int, run: int = 1) -> set[int]:
    """Send the first copy of a unit, and return what is due then."""
    unit = life.created(number, 2, adaptive=True)
    copy = Replica(id=1, volunteer=1, deadline=9.0, hard_deadline=9.0)
    head = Head(run, *[getattr(HEAD, name) for name in Head.__struct_fields__[1:]])
    waiting.learn(Changed(life.lease(unit, copy), unit, head))
    found = set(waiting.due)
    waiting.due.clear()
    return found


def test_they_go_out_with_the_next_unit_of_their_run_that_does() -> None:
    waiting = KnownUnits()
    for number, run in ((5, 1), (8, 1), (12, 1), (6, 2)):
        waiting.put(number, run)
    assert sent(waiting, 4) == set()
    assert not waiting.changed.is_set()
    assert sent(waiting, 7) == {5}
    assert waiting.changed.is_set()
    assert sent(waiting, 20) == {8, 12}
    assert sent(waiting, 30) == set()
    assert sent(waiting, 9, run=2) == {6}


def test_a_further_copy_of_a_unit_lets_none_out() -> None:
    waiting = KnownUnits()
    waiting.put(5, 1)
    unit = life.lease(life.created(7, 2, adaptive=True), Replica(id=1, volunteer=1, deadline=9.0, hard_deadline=9.0))
    more = life.lease(unit, Replica(id=2, volunteer=2, deadline=9.0, hard_deadline=9.0))
    waiting.learn(Changed(more, unit, HEAD))
    assert not waiting.due


def test_they_stand_anywhere_among_new_units_but_last() -> None:
    new = [wire.NewUnit(key=str(n), args=b"n") for n in range(4)]
    again = {n: wire.NewUnit(key="", args=b"%d" % n) for n in (90, 91)}
    seen: set[int] = set()
    for _ in range(200):
        order, places = mixed(new, again)
        assert [entry for place, entry in enumerate(order) if place not in places] == new
        assert {of: order[place] for place, of in places.items()} == again
        assert max(places) < len(order) - 1
        seen |= places.keys()
    assert seen == {0, 1, 2, 3, 4}
