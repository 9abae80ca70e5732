"""What must stay cheap however long the tables are: each database says how it would find what is asked for.

A small world is lived through and looked at in every way, and whatever the store was asked is explained: nothing may
walk a long table, nor all units of a run.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, event

from dsage.errors import NotFound
from dsage.wire import HostInfo
from dsage_server import looking_back
from dsage_server.scheduling.terms import RunTerms
from dsage_server.store import (
    checking,
    claims,
    credit,
    deadlines,
    events,
    hosts,
    last_words,
    looking,
    memberships,
    processes,
    projects,
    public,
    quotas,
    ready,
    renewal,
    runs,
    standings,
    unfolded,
    units,
    views,
    visits,
)
from dsage_server.store.boards import Board, Contender
from dsage_server.store.engine import Store
from dsage_server.store.leases import Call
from dsage_server.store.testing import fresh, kinds
from dsage_server.web.operators import desk, fleet
from dsage_server.web.page import Asked, Page
from dsage_server.web.personal import carrying
from dsage_server.web.personal.mine import Mine, Room
from dsage_server.web.personal.serving import ROOMS
from dsage_server.web.public import PAGES
from dsage_server.web.testing import World

LONG: Final = frozenset(
    {
        "answer", "batch", "blob", "blob_ref", "credit_entry", "credit_sum", "document", "event", "host", "membership",
        "painted_tile", "printed", "proof", "replica", "run_credit", "signed_unit", "unit",
        "used_challenge", "volunteer",
    }
)  # fmt: skip
"""Tables that grow as long as the server lives. The others have some rows a run, a process or a visitor."""
SHORT: Final = frozenset(
    {
        "ix_credit_entry_correction", "ix_credit_entry_taken",
        "ix_replica_deadline", "ix_replica_leased_host", "ix_replica_reported", "ix_replica_unjudged",
        "ix_unit_open", "ix_unit_ready", "ix_unit_refused", "ix_unit_unfolded",
    }
)  # fmt: skip
"""Indexes of what is waiting, or taken back, only: walking all of one is its purpose."""
LISTS: Final = frozenset(
    {
        "ix_credit_sum_listed",
        "ix_run_credit_listed",
        "ix_event_run",
        "ix_event_of_run",
        "ix_event_unit",
        "ix_event_news",
    }
)
"""Indexes in the order that people read, walked from their beginning for a page."""
NEWEST: Final = re.compile(r"FROM event\s+ORDER BY event\.id DESC\s+LIMIT")

HOST: Final = HostInfo(client="c", platform="linux", cores=1, memory_bytes=1, sandbox="none")


@pytest.fixture(params=kinds())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store on each database."""
    opened = Store(fresh(tmp_path, request.param))
    yield opened
    opened.close()


def test_nothing_that_people_or_programs_ask_walks_a_long_table(store: Store) -> None:
    said: dict[str, Any] = {}
    for engine in (store._writer, store._reader):
        event.listen(engine, "before_cursor_execute", _listener(said))
    live(store)
    assert len(said) > 60
    look = walks_on_postgresql if store.shared else walks_on_sqlite
    with store._reader.connect() as connection:
        found = {statement: bad for statement, bound in said.items() if (bad := look(connection, statement, bound))}
    assert not found


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM volunteer",
        "SELECT id FROM host WHERE platform = 'linux' LIMIT 1",
        "SELECT id FROM replica WHERE state = 'valid'",
        "SELECT count(*) FROM unit WHERE run_id = 1",
        "SELECT text FROM event WHERE kind = 'joined' ORDER BY id DESC LIMIT 5",
    ],
)
def test_a_walk_is_seen(store: Store, statement: str) -> None:
    look = walks_on_postgresql if store.shared else walks_on_sqlite
    with store._reader.connect() as connection:
        assert look(connection, statement, ())


def look_at(page: Page, asked: Asked, connection: Connection) -> None:
    """Look at a page; that what is asked for is not there does not matter."""
    with suppress(NotFound):
        page.load(connection, asked)


def look_for_the_operator(room: desk.Room, connection: Connection, now: float) -> None:
    """Look at one of the operator's pages; those of the fleet add up the latest copies, however few there are."""
    query = {name: param.default for name, param in room.params}
    room.load(connection, Asked(now=now, server_id="s", name="n", path={"number": "1"}, query=query), None)


def look_into(room: Room, mine: Mine, connection: Connection) -> None:
    """Look at one of a volunteer's own pages."""
    room.load(connection, mine)


def live(store: Store) -> None:
    """Do and ask what a server does and is asked."""
    world = World(store, time.time())
    now = world.now
    people = [world.join(name, public=public) for name, public in (("ada", True), ("bob", False), ("eve", True))]
    run = world.submit("Long", n=1)
    first, second, third = world.step(run, args=[1, 2, 3])
    world.compute(first, "same", *people[:2])
    for caller, value in zip(people, "abc", strict=True):
        world.lease(caller, second)
        world.report(caller, second, value)
    world.lease(people[0], third)
    for known in (None, frozenset[int]()):
        world._serve(Call(caller=people[0], known=known))
    place = store.write_now(lambda c: processes.join(c, "api", now))
    store.slot = place.slot
    terms = RunTerms(run=run, project="p", researcher=b"k")
    board = Board(Contender(each.volunteer, "ada", None, "", 1, 1, 1.0) for each in people)
    """Boards themselves are read now and then, and walk all who are listed."""
    visit = visits.Visit(1, visits.Role.VOLUNTEER, str(people[0].volunteer), "link", now, now, now + 60)
    path = {"name": "ada", "slug": "example"}
    claim: list[Callable[[Connection], Any]] = [
        lambda c: claims.claim(c, terms, 10, now),
        lambda c: claims.release(c, [third]),
        lambda c: claims.release_all(c, place.slot),
        lambda c: processes.refresh(c, place, now),
        lambda c: processes.leave(c, place),
        lambda c: deadlines.extend_leases(c, 1.0),
        lambda c: hosts.describe(c, people[0].host, HOST, now),
        lambda c: hosts.note_seen(c, [(now, "", people[0].host)]),
        credit.fold,
        lambda c: looking_back.distrust(c, people[0].host, now),
    ]
    looks: list[Callable[[Connection], Any]] = [
        lambda c: views.status(c, "s", "n", now),
        lambda c: views.runs(c, now),
        lambda c: views.run_view(c, run, now),
        lambda c: views.run_view(c, run, now + 1e6),
        lambda c: views.leaderboard(c, now),
        lambda c: views.finders(c, run, list(range(500))),
        lambda c: views.credit_of_run(c, run),
        lambda c: public.status(c, views.status(c, "s", "n", now), public.Reader(key=b"k", projects=frozenset("p"))),
        lambda c: public.news(c, run, 0),
        lambda c: public.finders(c, run, [second, third], now),
        lambda c: public.credit(c, views.run_view(c, run, now)),
        *[
            partial(
                look_at,
                page,
                Asked(
                    now=now,
                    server_id="s",
                    name="n",
                    path=path | {"number": number},
                    query=asked,
                    board=lambda *_: board,
                ),
            )
            for page in PAGES
            for asked in [page.asked({})]
            for number in ("1", str(third))
        ],
        *[partial(look_into, room, Mine(visit=visit, now=now, server_id="s")) for room in ROOMS],
        *[
            partial(look_for_the_operator, room, now=now)
            for room in desk.ROOMS
            if room.load.__module__ != fleet.__name__
        ],
        lambda c: carrying.packed(c, Mine(visit=visit, now=now, server_id="s")),
        lambda c: events.since(c, 0),
        lambda c: events.since(c, 0, run=run),
        lambda c: deadlines.expired(c, now),
        deadlines.next_deadline,
        units.unjudged,
        runs.running,
        lambda c: unfolded.answers(c, run),
        lambda c: looking.unit_page(c, run, 0, 10, ""),
        lambda c: looking.attempts(c, run),
        lambda c: looking.attempts(c, run, third),
        lambda c: looking.remainder(c, run, 0),
        lambda c: looking.sent(c, run),
        lambda c: views.runs_of(c, world.researcher, now, 50, 0),
        lambda c: quotas.used(c, world.researcher, "runs"),
        lambda c: quotas.used(c, world.researcher, "open_units"),
        projects.waiting,
        lambda c: ready.ready_units(c, terms, 0, 100),
        lambda c: renewal.stale(c, b"another key", now),
        lambda c: checking.case(c, second),
        lambda c: processes.gone(c, now),
        lambda c: hosts.described(c, people[0].host),
        lambda c: standings.undecided(c, [people[0].host]),
        last_words.unlooked,
        last_words.waiting,
        lambda c: last_words.chosen(c, run, last_words.Choice()),
        lambda c: quotas.used(c, world.researcher, "blob_bytes"),
        lambda c: memberships.moves(c, 1, 10),
        lambda c: memberships.of_volunteer(c, people[0].volunteer),
    ]
    for change in claim:
        store.write_now(change)
    for look in looks:
        store.read_now(look)
    world.step(run, cancel=["", *[f"g{n}" for n in range(3)]])
    world.step(run, finished=True, result=1)


def _listener(said: dict[str, Any]) -> Callable[..., None]:
    def listen(_conn: Connection, _cursor: Any, statement: str, bound: Any, _context: Any, many: bool) -> None:
        if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)\b", statement):
            said.setdefault(statement, bound[0] if many else bound)

    return listen


def walks_on_sqlite(connection: Connection, statement: str, bound: Any) -> list[str]:
    """Return the steps of SQLite's plan that go through a long table, or through a whole run of one."""
    found = []
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", bound):
        step = str(row.detail)
        match = re.match(r"(SCAN|SEARCH) (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
        if match is None or match[2] not in LONG or (match[3] or "") in SHORT | LISTS:
            continue
        if (match[1] == "SCAN" and not NEWEST.search(statement)) or step.endswith("(run_id=?)"):
            found.append(step)
    return found


def walks_on_postgresql(connection: Connection, statement: str, bound: Any) -> list[str]:
    """Return the same for PostgreSQL, which walks short tables gladly unless that is forbidden."""
    for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
        connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", bound).scalar_one()
    found: list[str] = []
    waiting: list[tuple[Any, bool]] = [(plan[0]["Plan"], False)]
    while waiting:
        node, limited = waiting.pop()
        waiting += [(below, node["Node Type"] == "Limit") for below in node.get("Plans", ())]
        kind, index, condition = node["Node Type"], node.get("Index Name", ""), node.get("Index Cond", "")
        if not kind.endswith(" Scan") or node.get("Relation Name") not in LONG or index in SHORT | LISTS:
            continue
        walks = not condition and kind != "Tid Scan" and (not limited or "Filter" in node)
        if walks or re.fullmatch(r"\(run_id = [^)]*\)", condition):
            found.append(f"{kind} of {node['Relation Name']} by {index or 'nothing'} {condition}".strip())
    return found
