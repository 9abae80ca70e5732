"""The server at a glance: how its parts are, what goes through them, and what waits."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage.states import OPEN_RUNS
from dsage_server.store import public, views, vitals
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.public.lines import RunLine, run_line

PERIOD_S: Final = 5.0


class Part(msgspec.Struct, kw_only=True):
    """A part of the server: `state` is "good", "late", "off" or "unknown"; `since_s` is how old that news is."""

    name: str
    state: str
    since_s: float | None = None
    day: str = ""


class Queue(msgspec.Struct, kw_only=True):
    """The units of a project's runs that go on, by state."""

    project: str
    runs: int
    units: dict[str, int]


class Window(msgspec.Struct, kw_only=True):
    """Computers that were here within the last `seconds`, and their people."""

    seconds: float
    hosts: int
    people: int


class StatusPage(Document, kw_only=True):
    """The server at a glance; `credit_day` and `credit_week` are of the ledger's last closed day and last seven."""

    schema: ClassVar[str] = "dsage.status/1"
    server_id: str
    name: str
    version: str
    time: float
    volunteers: int
    hosts_live: int
    units: dict[str, int]
    replicas: dict[str, int]
    runs: list[RunLine]
    parts: list[Part]
    queues: list[Queue]
    windows: list[Window]
    credit_day: float
    credit_week: float


def status(connection: Connection, asked: Asked) -> StatusPage:
    """Return the server at a glance."""
    glance = public.status(connection, views.status(connection, asked.server_id, asked.name, asked.now))
    lines = [run_line(view) for view in glance.runs]
    day, week = vitals.granted(connection)
    return StatusPage(
        server_id=glance.server_id, name=glance.name, version=glance.version, time=glance.time,
        volunteers=glance.volunteers, hosts_live=glance.hosts_live, units=glance.units, replicas=glance.replicas,
        runs=lines, parts=parts(vitals.vitals(connection, asked.now), asked.now), queues=queues(lines),
        windows=[Window(**each._asdict()) for each in vitals.windows(connection, asked.now)],
        credit_day=day / 1000, credit_week=week / 1000,
    )  # fmt: skip


def parts(found: vitals.Vitals, now: float) -> list[Part]:
    """Return how each part is."""
    said = max(now - found.alive, 0.0)
    lives = said <= vitals.SILENT_S
    switched = {True: "good" if lives else "late", False: "off", None: "unknown"}
    return [
        Part(name="server", state="good" if lives else "late", since_s=said if found.alive else None),
        Part(name="credit", state="good" if found.unfolded_s <= vitals.LATE_S else "late", since_s=found.unfolded_s),
        Part(name="proof", state="good" if found.proved else "unknown", day=found.proved),
        Part(name="checks", state=switched[found.checks]),
        Part(name="hosting", state=switched[found.hosting]),
    ]


def queues(lines: list[RunLine]) -> list[Queue]:
    """Return what waits and is worked on, by project."""
    found: dict[str, Queue] = {}
    for line in lines:
        if line.state in OPEN_RUNS:
            queue = found.setdefault(line.project, Queue(project=line.project, runs=0, units={}))
            queue.runs += 1
            for state, n in line.units.items():
                queue.units[state] = queue.units.get(state, 0) + n
    return [found[name] for name in sorted(found)]


PAGES: Final = (
    Page(template="status", route="/status", load=status, document=StatusPage, live=True, period_s=PERIOD_S),
)
