"""Boards that are kept: how old they get, and who waits for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dsage.errors import UsageError
from dsage_server.store import boards
from dsage_server.store.boards import Board, Horizon, Scope
from dsage_server.web import rankings
from dsage_server.web.rankings import Rankings
from dsage_server.web.testing import World


class Clock:
    """Seconds that a test moves; making a board takes `costs` of them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(world: World, clock: Clock) -> Iterator[Rankings]:
    found = Rankings(world.store, period_s=1.0, clock=clock)
    yield found
    found.close()


def slow(monkeypatch: pytest.MonkeyPatch, clock: Clock, costs: float, held: threading.Event | None = None) -> None:
    """Let each board take so many seconds of the clock, and be held until the event is set."""
    read = boards.made

    def made(*about: Any) -> Board:
        if held is not None:
            assert held.wait(10)
        clock.now += costs
        return read(*about)

    monkeypatch.setattr(boards, "made", made)


def look(world: World, kept: Rankings, scope: Scope = Scope()) -> Board:  # noqa: B008 - it is immutable
    return world.store.read_now(lambda c: kept.board(c, scope, world.now))


def test_a_quick_board_is_made_anew_when_it_is_old(world: World, kept: Rankings, clock: Clock) -> None:
    first = look(world, kept)
    clock.now += 0.9
    assert look(world, kept) is first
    world.join("ada")
    clock.now += 0.2
    assert len(look(world, kept)) == 1


def test_nobody_waits_for_a_slow_board_but_the_first(
    world: World, kept: Rankings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, clock, 0.2)
    first = look(world, kept)
    clock.now += 5
    assert look(world, kept) is first, "a board that took 0.2 s is good for 6 s"
    clock.now += 2
    held = threading.Event()
    slow(monkeypatch, clock, 0.2, held)
    assert look(world, kept) is first
    assert look(world, kept) is first
    held.set()
    kept.close()
    assert look(world, kept) is not first


def test_boards_get_as_old_as_their_horizon_allows(
    world: World, kept: Rankings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, clock, 100.0)
    for horizon in Horizon:
        first = look(world, kept, Scope(horizon))
        clock.now += boards.PERIOD_S[horizon] - 1
        assert look(world, kept, Scope(horizon)) is first


def test_as_many_are_kept_as_have_room(world: World, kept: Rankings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankings, "MOST_KEPT", 2)
    day, month, ever = (look(world, kept, Scope(each)) for each in (Horizon.DAY, Horizon.MONTH, Horizon.ALL))
    assert look(world, kept, Scope(Horizon.ALL)) is ever
    assert look(world, kept, Scope(Horizon.MONTH)) is month
    assert look(world, kept, Scope(Horizon.DAY)) is not day


def test_what_failed_is_tried_again(world: World, kept: Rankings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(boards, "made", lambda *_: Board([], by="nothing"))
        with pytest.raises(UsageError):
            look(world, kept)
    assert len(look(world, kept)) == 0
