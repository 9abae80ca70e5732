"""Lines that several public pages show: a run, a volunteer's row, what happened."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from dsage import wire
from dsage.codec import Value
from dsage.states import OPEN_RUNS, RunState
from dsage_server.sentences import reasons
from dsage_server.store import public, views
from dsage_server.store.schema import event
from dsage_server.web import plain

PAGE_ROWS: Final = 100
MOST_PAGES: Final = 1000
"""Whoever comes after so many pages of a list is counted, not listed: a page skips what stands before it."""
RUN_EVENTS: Final = 30
NOBODY: Final = "a volunteer"
"""How those who have not opted in are called."""
FAILURES: Final = {code: sentence() for code, sentence in reasons.FAILURES.items()}
"""Why a unit or a copy failed, by the code of the reason."""


class Leader(msgspec.Struct, kw_only=True):
    """A row of the leaderboard; `recent` is in credits a day."""

    rank: int
    pseudonym: str
    credit: float
    recent: float
    valid: int
    last_seen: float | None


class Others(msgspec.Struct, kw_only=True):
    """Everybody who has not opted in, summed."""

    people: int
    credit: float
    recent: float
    valid: int


class RunLine(msgspec.Struct, kw_only=True):
    """A run in one line; `units` and `replicas` are counts by state; `platforms` and `tags` say for which computers."""

    run: int
    project: str
    title: str
    about: str
    state: str
    reason: str
    created: float
    finished: float | None
    phase: str
    summary: str
    fraction: float | None
    eta_s: float | None
    credit: float
    volunteers: int
    units: dict[str, int]
    replicas: dict[str, int]
    priority: int
    platforms: list[str]
    tags: list[str]


def run_line(view: wire.RunView) -> RunLine:
    """Return a run in one line, with what its author's progress says in the words every view knows."""
    told = plain.mapping(plain.opened(view.progress, "").value)
    seen = public.view(view)
    running = view.state in OPEN_RUNS
    eta = plain.finite(told.get("eta_s"))
    return RunLine(
        run=view.run, project=view.project, title=view.title or view.project,
        about=plain.about(plain.opened(view.params, "").value), state=view.state, reason=seen.reason,
        created=view.created, finished=view.finished, phase=_text(told.get("phase")) if running else "",
        summary=_text(told.get("summary")),
        fraction=1.0 if view.state == RunState.DONE else plain.fraction(told.get("fraction")),
        eta_s=eta if running and eta is not None and eta >= 0 else None,
        credit=view.credit_milli / 1000, volunteers=view.volunteers, units=seen.units, replicas=seen.replicas,
        priority=view.priority, platforms=view.platforms, tags=view.tags,
    )  # fmt: skip


def failure(code: str) -> str:
    """Return the reason of a failure in words."""
    return FAILURES.get(code, code)


SPECIAL: Final = frozenset({"phase", "fraction", "eta_s", "summary"})
"""Keys of a run's progress that have their own place on a page."""


def _text(value: Value) -> str:
    return value[:300] if isinstance(value, str) else ""


def board(connection: Connection, now: float, limit: int, offset: int) -> tuple[list[Leader], Others | None]:
    """Return those who are listed by what they gave lately, and the others, summed."""
    leaders: list[Leader] = []
    others = None
    for line in views.leaderboard(connection, now, limit, offset):
        credit = line.credit_milli / 1000
        if line.pseudonym is None:
            others = Others(people=line.people, credit=credit, recent=line.recent, valid=line.valid)
            continue
        leaders.append(
            Leader(
                rank=offset + len(leaders) + 1, pseudonym=line.pseudonym, credit=credit, recent=line.recent,
                valid=line.valid, last_seen=line.last_seen,
            )
        )  # fmt: skip
    return leaders, others


def events(connection: Connection, limit: int, *where: Any) -> list[wire.Event]:
    """Return the newest events, newest first."""
    return [
        wire.Event(id=row.id, at=row.at, kind=row.kind, text=row.text, run=row.run_id, unit=row.unit_id)
        for row in connection.execute(select(event).where(*where).order_by(event.c.id.desc()).limit(limit))
    ]
