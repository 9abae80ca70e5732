"""Leaderboards: the listed alone, over the time asked for, each at the place that a count by hand gives."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, insert

from dsage.errors import UsageError
from dsage.trust.documents import Manifest
from dsage.trust.envelope import Envelope
from dsage_server.store import credit, daybook
from dsage_server.store.boards import Board, Contender, Horizon, Narrow, contenders
from dsage_server.store.engine import Store
from dsage_server.store.schema import credit_entry, document, volunteer
from dsage_server.store.testing import fresh, kinds

DAY = 86400.0
NOW = 20_700 * DAY + 0.75 * DAY
HIDDEN = 4


def someone(number: int, amount: int, *, valid: int = 1, team: int | None = None) -> Contender:
    return Contender(number, f"Otter {number}", team, "", amount, valid, float(-amount))


@pytest.fixture(params=kinds())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Four volunteers, the last of them not listed, and grants of today, yesterday, last week and long ago."""
    store = Store(fresh(tmp_path, request.param))

    def fill(c: Connection) -> None:
        for number in range(1, 5):
            name = {"id": number, "pseudonym": f"otter {number}", "public": False, "created": 0.0}
            c.execute(insert(volunteer).values(name))
            credit.enter(c, number, number != HIDDEN)

    store.write_now(fill)
    days = ((1, 0.1, 100), (2, 0.9, 300), (3, 1.1, 700), (1, 7, 1000), (2, 60, 5000), (HIDDEN, 0.1, 9000))
    for replica, (who, ago, amount) in enumerate(days, 1):
        row = {
            "replica_id": replica, "volunteer_id": who, "app": f"app{who % 2}", "project": "p", "kind": "grant",
            "amount_milli": amount, "granted": NOW - ago * DAY,
        }  # fmt: skip
        enter(store, row)
    store.write_now(credit.fold)
    yield store
    store.close()


def enter(store: Store, row: dict[str, Any]) -> None:
    store.write_now(lambda c: c.execute(insert(credit_entry).values(row)))


def amounts(store: Store, horizon: Horizon, app: str = "") -> dict[int, int]:
    found = store.read_now(lambda c: contenders(c, horizon, NOW, app=app))
    return {each.volunteer: each.amount_milli for each in found}


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [
        (Horizon.DAY, {1: 100, 2: 300}),
        (Horizon.MONTH, {1: 1100, 2: 300, 3: 700}),
        (Horizon.ALL, {1: 1100, 2: 5300, 3: 700}),
        (Horizon.RECENT, {1: 1100, 2: 5300, 3: 700}),
    ],
)
def test_each_horizon_counts_its_time_and_the_listed_alone(
    store: Store, horizon: Horizon, expected: dict[int, int]
) -> None:
    assert amounts(store, horizon) == expected


def test_the_recent_board_is_ordered_by_score(store: Store) -> None:
    board = Board(store.read_now(lambda c: contenders(c, Horizon.RECENT, NOW)), by="score")
    assert [place.who.volunteer for place in board.page()] == [3, 1, 2]


def test_what_is_taken_back_counts_at_the_time_of_its_grant(store: Store) -> None:
    for grant, who, amount in ((2, 2, 300), (3, 3, 700)):
        row = {"replica_id": grant, "volunteer_id": who, "app": f"app{who % 2}", "project": "p", "kind": "reversal"}
        enter(store, row | {"amount_milli": -amount, "granted": NOW, "reverses": grant})
    assert amounts(store, Horizon.DAY) == {1: 100, 2: 300}, "what is not added up is on no board"
    store.write_now(credit.fold)
    assert amounts(store, Horizon.DAY) == {1: 100}
    assert amounts(store, Horizon.MONTH) == {1: 1100}


def test_a_day_that_is_closed_in_between_changes_nothing(store: Store) -> None:
    for days in range(3):
        store.write_now(functools.partial(daybook.close, now=NOW + days * DAY))
    assert amounts(store, Horizon.DAY) == {1: 100, 2: 300}


def publish(store: Store, sha256: str, project: str, entry: str) -> None:
    manifest = Manifest(project=project, title="T", entry=entry, bundle="0" * 64, bundle_bytes=1)
    packed = msgspec.msgpack.encode(Envelope("manifest", msgspec.json.encode(manifest), []))
    row = {"hash": sha256, "kind": "manifest", "envelope": packed, "created": 0.0}
    store.write_now(lambda c: c.execute(insert(document).values(row)))


def test_an_app_has_a_board_of_what_was_earned_with_it_and_a_project_of_all_its_apps(store: Store) -> None:
    publish(store, "app0", "sums", "m:Even")
    publish(store, "app1", "sums", "m:Odd")
    assert amounts(store, Horizon.ALL, "sums") == amounts(store, Horizon.ALL)
    assert amounts(store, Horizon.ALL, "sums/m:Even") == {2: 5300}
    assert amounts(store, Horizon.MONTH, "sums/m:Odd") == {1: 1100, 3: 700}
    assert amounts(store, Horizon.DAY, "sums/m:Odd") == {1: 100}
    assert amounts(store, Horizon.ALL, "sums/m") == {}


def test_a_project_has_a_board_of_what_was_earned_with_its_apps(store: Store) -> None:
    publish(store, "app1", "odd", "m:T")
    assert amounts(store, Horizon.DAY, "odd") == {1: 100}
    assert amounts(store, Horizon.MONTH, "odd") == amounts(store, Horizon.ALL, "odd") == {1: 1100, 3: 700}
    assert amounts(store, Horizon.ALL, "even") == {}


def test_who_has_as_much_has_the_same_place() -> None:
    board = Board([someone(1, 5), someone(2, 9), someone(3, 5), someone(4, 1)])
    assert [(place.rank, place.who.volunteer) for place in board.page()] == [(1, 2), (2, 1), (2, 3), (4, 4)]
    assert [place.who.volunteer for place in board.page(2, size=3)] == [4]


def test_somebody_is_shown_among_neighbours_also_at_an_end() -> None:
    board = Board([someone(number, number) for number in range(1, 31)])
    assert [place.rank for place in board.around(20)] == list(range(6, 17))
    assert [place.rank for place in board.around(30)] == list(range(1, 7))
    assert [place.rank for place in board.around(1)] == list(range(25, 31))
    assert board.around(99) == []


def test_names_are_found_by_how_they_begin() -> None:
    board = Board([someone(number, number) for number in (1, 2, 11, 12)])
    assert [place.who.volunteer for place in board.named("oTTER 1")] == [1, 11, 12]
    assert [place.rank for place in board.named("otter 2")] == [3]
    assert len(board.named("otter", most=2)) == 2
    assert board.named("pine") == []


def test_a_teams_board_has_places_of_its_own() -> None:
    board = Board([someone(number, number, team=number % 2, valid=9 - number) for number in range(1, 7)])
    mine = board.only(Narrow(team=1))
    assert [(place.rank, place.who.volunteer) for place in mine.page()] == [(1, 5), (2, 3), (3, 1)]
    assert Counter(place.who.team for place in mine.page()) == {1: 3}
    steady = board.only(Narrow(team=1), by="valid")
    assert [place.who.volunteer for place in steady.page()] == [1, 3, 5]


def test_an_order_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="pseudonym"):
        Board([], by="pseudonym")
