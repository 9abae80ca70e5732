"""What anybody may know of runs, and what a run's researcher knows besides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from dsage import wire
from dsage_server.sentences.found import find
from dsage_server.store import events, portfolio, public, views
from dsage_server.store.engine import Store
from dsage_server.store.public import ANYBODY, FEW, Reader
from dsage_server.store.schema import run_credit, unit
from dsage_server.store.testing import fresh, kinds
from dsage_server.web.testing import World

NOW = 1_800_000_000.0


@pytest.fixture(params=kinds())
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An empty world on each database."""
    store = Store(fresh(tmp_path, request.param))
    yield World(store, NOW)
    store.close()


def seen(world: World, run: int) -> wire.RunView:
    """A run as it is, and as nobody but its researcher sees it."""
    return world.store.read_now(lambda c: views.run_view(c, run, world.now))


def status(world: World, reader: Reader = ANYBODY) -> wire.StatusView:
    """The server at a glance as a reader sees it."""
    return world.store.read_now(lambda c: public.status(c, views.status(c, "s", "n", world.now), reader))


def test_who_is_told_all_of_a_run(world: World) -> None:
    mine, other = world.submit("Mine", project="air"), world.submit("Other", project="sea")
    for reader, runs in (
        (ANYBODY, set()),
        (Reader(key=b"stranger"), set()),
        (Reader(key=b"stranger", projects=frozenset({"land"})), set()),
        (Reader(key=b"colleague", projects=frozenset({"air", "land"})), {mine}),
        (Reader(key=world.researcher), {mine, other}),
        (Reader(run=other), {other}),
    ):
        assert world.store.read_now(lambda c, reader=reader: public.whole(c, reader, [mine, other, 99])) == runs  # type: ignore[misc]


def test_a_run_by_its_counts(world: World) -> None:
    otter, wren = world.join("otter"), world.join("wren")
    run = world.submit("Work")
    first, *_ = world.step(run, args=[1, 2, 3])
    world.lease(otter, first)
    world.report(otter, first, "a")
    world.lease(wren, first)
    told = public.view(seen(world, run))
    assert (told.units, told.replicas) == ({"active": 3}, {})
    assert told.reason == ""
    world.step(run, args=list(range(FEW)))
    assert public.view(seen(world, run)) == seen(world, run), "among so many it tells nothing of one"


def test_a_reason_names_no_unit() -> None:
    assert public.reason("needs one more volunteer: 2 must agree on unit 7") == public.NEEDS
    away, paused = (
        "its driver is away: `dsage attach 1` goes on from step 2",
        "its researcher paused it: `dsage resume 1`",
    )
    for told in (away, paused):
        assert "`" not in public.reason(told)
        assert find(public.reason(told)) is not None, "pages tell it in other languages"


def test_sums_do_not_tell_what_is_kept_of_a_run(world: World) -> None:
    """Who knows the sums and all other runs would know it by subtracting."""
    otter = world.join("otter")
    large, small = world.submit("Large", project="air"), world.submit("Small", project="sea")
    world.step(large, args=list(range(FEW)))
    (only,) = world.step(small, args=[1])
    world.lease(otter, only)
    told = status(world)
    assert (told.units, told.replicas) == ({"ready": FEW, "active": 1}, {})
    assert {view.run: view.units for view in told.runs} == {large: {"ready": FEW}, small: {"active": 1}}
    world.report(otter, only, "a")
    assert status(world).units == told.units
    exact = world.store.read_now(lambda c: views.status(c, "s", "n", world.now))
    for reader in (Reader(key=world.researcher), Reader(key=b"x", projects=frozenset({"sea"}))):
        mine = status(world, reader)
        assert (mine.units, mine.replicas) == (exact.units, exact.replicas)
        assert {view.run: view.replicas for view in mine.runs}[small] == {"reported": 1}
    assert status(world, Reader(key=b"x", projects=frozenset({"air"}))).replicas == {}


def test_sums_of_a_project_do_not_tell_it_either(world: World) -> None:
    otter = world.join("otter")
    large, small = world.submit("Large"), world.submit("Small")
    world.step(large, args=list(range(FEW)))
    (only,) = world.step(small, args=[1])
    before = world.store.read_now(portfolio.sums)["example"]
    assert (before.units, before.copies) == ({"ready": FEW, "active": 1}, {})
    world.lease(otter, only)
    world.report(otter, only, "a")
    assert world.store.read_now(portfolio.sums)["example"] == before


def test_events_are_those_of_the_run_and_of_none_of_its_units(world: World) -> None:
    run = world.submit("Work")
    for kind, text, about in (
        ("disagreement", "two answers differ", 5), ("refused", "an answer was found wrong", 5),
        ("own-check", "unit 5 is not computed again", None), ("app-flaky", "answers differ", None),
        ("paused", "it is paused", None),
    ):  # fmt: skip
        world.store.write_now(lambda c, k=kind, t=text, u=about: events.note(c, NOW, k, t, run=run, unit=u))  # type: ignore[misc]
    found = world.store.read_now(lambda c: public.news(c, run, 0))
    assert [each.kind for each in found] == ["submitted", "app-flaky", "paused"]
    assert [each.kind for each in world.store.read_now(lambda c: public.news(c, run, found[1].id))] == ["paused"]
    assert len(world.store.read_now(lambda c: events.since(c, 0, run=run))) == 6


def test_finders_are_told_of_units_that_are_over(world: World) -> None:
    otter, wren = world.join("otter"), world.join("wren")
    run = world.submit("Work")
    (agreed,) = world.step(run, args=[1])
    (lone,) = world.step(run, args=[2], quorum=1)
    world.compute(agreed, "a", otter, wren)
    world.compute(lone, "b", otter)
    world.store.write_now(lambda c: c.execute(update(unit).values(adaptive=True)))
    assert len(world.store.read_now(lambda c: views.finders(c, run, [agreed, lone]))) == 2
    found = world.store.read_now(lambda c: public.finders(c, run, [agreed, lone], NOW))
    assert [(each.unit, each.pseudonym) for each in found] == [(agreed, "otter")], "the other may still be checked"


def test_credit_waits_until_it_tells_nothing_of_one_unit(world: World) -> None:
    otter, wren = world.join("otter"), world.join("wren")
    run = world.submit("Work")
    units = world.step(run, args=list(range(FEW)))

    def told() -> dict[str, int]:
        return world.store.read_now(lambda c: public.credit(c, views.run_view(c, run, NOW)))

    for each in units[:-1]:
        world.compute(each, "a", otter, wren)
    assert told() == {}
    world.compute(units[-1], "a", otter, wren)
    assert set(told()) == {"otter", "wren"}
    world.store.write_now(lambda c: c.execute(update(run_credit).values(public=False)))
    assert "otter" not in told()


def test_credit_of_a_small_run_is_told_when_it_has_ended(world: World) -> None:
    otter, wren = world.join("otter"), world.join("wren")
    run = world.submit("Work")
    (one,) = world.step(run, args=[1])
    world.compute(one, "a", otter, wren)
    assert world.store.read_now(lambda c: public.credit(c, views.run_view(c, run, NOW))) == {}
    world.step(run, finished=True, result=1)
    told = world.store.read_now(lambda c: public.credit(c, views.run_view(c, run, NOW)))
    assert set(told) == {"otter", "wren"}
