"""The front page: what the server is doing now."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Final

from sqlalchemy import Connection

from dsage import wire
from dsage.states import OPEN_RUNS, UnitState
from dsage_server.store import discoveries, public, views
from dsage_server.store.schema import NEWS, among, event
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.public.lines import Leader, Others, RunLine, board, events, run_line

FRONT_ROWS: Final = 10
FRONT_EVENTS: Final = 12
FRONT_FINDS: Final = 5
"""The newest discovery that holds is looked for among so many."""


class FrontPage(Document, kw_only=True):
    """What the server is doing now; `units` are those of the runs that go on, by state."""

    schema: ClassVar[str] = "dsage.front/1"
    name: str
    hosts_live: int
    volunteers: int
    active: int
    valid: int
    credit: float
    running: list[RunLine]
    ended: list[RunLine]
    leaders: list[Leader]
    others: Others | None
    people: int
    newest: wire.DiscoveryView | None
    units: dict[str, int]
    events: list[wire.Event]


def front(connection: Connection, asked: Asked) -> FrontPage:
    """Return the front page."""
    glance = public.status(connection, views.status(connection, asked.server_id, asked.name, asked.now))
    lines = [run_line(view) for view in glance.runs]
    leaders, others = board(connection, asked.now, FRONT_ROWS, 0)
    earned = views.everybody(connection)
    holding = [each for each in discoveries.public(connection, limit=FRONT_FINDS) if each.state == "published"]
    return FrontPage(
        name=asked.name, hosts_live=glance.hosts_live, volunteers=glance.volunteers,
        active=glance.units.get(UnitState.ACTIVE, 0) + glance.units.get(UnitState.COMPARING, 0),
        valid=glance.units.get(UnitState.VALID, 0), credit=sum(some.amount_milli for some in earned.values()) / 1000,
        running=[line for line in lines if line.state in OPEN_RUNS],
        ended=[line for line in lines if line.state not in OPEN_RUNS][:5],
        leaders=leaders, others=others, people=earned[True].people, newest=holding[0] if holding else None,
        units=_units(lines), events=events(connection, FRONT_EVENTS, among(event.c.kind, NEWS)),
    )  # fmt: skip


def _units(lines: list[RunLine]) -> dict[str, int]:
    """Return the units of the runs that go on, or of those that ended lately if none does, by state."""
    going = [line for line in lines if line.state in OPEN_RUNS and line.units] or lines
    return dict(sum((Counter(line.units) for line in going), Counter()))


FRONT: Final = Page(template="front", route="/index", load=front, document=FrontPage, live=True, by_system=True)
PAGES: Final = (FRONT,)
