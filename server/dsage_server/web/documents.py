"""What each page says: one document of plain data a page, made in one read. Template and JSON twin share it.

Credit is in credits (minutes of the reference core), times are Unix seconds, shares are 0..1. Nothing here may
hold what is not public: names only of volunteers who opted in, no addresses, no output of their machines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, exists, func, select

from dsage import wire
from dsage.codec import Value
from dsage.errors import NotFound
from dsage.states import OPEN_RUNS, RunState, UnitState
from dsage_server.badges import STEADY_WEEKS
from dsage_server.store import daybook, discoveries, earned, views
from dsage_server.store.schema import answer as stored
from dsage_server.store.schema import blob, credit_entry, event, replica, run, unit, volunteer
from dsage_server.store.units import args_of
from dsage_server.web import plain
from dsage_server.web.plain import Opened
from dsage_server.web.shapes import shape_of

PAGE_ROWS: Final = 100
MOST_PAGES: Final = 1000
"""Whoever comes after so many pages of the leaderboard is counted, not listed: a page skips what stands before it."""
LEDGER_DAYS: Final = 400
FRONT_ROWS: Final = 20
FRONT_EVENTS: Final = 12
RUN_EVENTS: Final = 30
MAX_REASON: Final = 60
NOBODY: Final = "a volunteer"
"""How those who have not opted in are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a visitor asked for: `number` is an id, or the page of a list."""

    number: int = 1
    now: float
    server_id: str
    name: str


class Document(msgspec.Struct, kw_only=True):
    """Base of every page's document."""

    schema: ClassVar[str]


class LedgerDay(msgspec.Struct, kw_only=True):
    """A closed day of the ledger (docs/credit.md says what its `hash` is of); `day` is its UTC date."""

    number: int
    day: str
    entries: int
    credit: float
    hash: str


class LedgerDays(Document, kw_only=True):
    """The newest closed days, newest first."""

    schema: ClassVar[str] = "dsage.ledger/1"
    days: list[LedgerDay]


class SteadyHand(msgspec.Struct, kw_only=True):
    """Somebody on the leaderboard, and in how many of the last whole weeks they had a valid answer."""

    pseudonym: str
    weeks: int


class SteadyHands(Document, kw_only=True):
    """Who gave steadily, however fast their computers are: counted once a day over `of_weeks` weeks, UTC."""

    schema: ClassVar[str] = "dsage.steady/1"
    of_weeks: int
    hands: list[SteadyHand]


class Discoveries(Document, kw_only=True):
    """Published discoveries, newest first; of one that does not hold any more the `correction`, and nobody's name."""

    schema: ClassVar[str] = "dsage.discoveries/1"
    page: int
    pages: int
    discoveries: list[wire.DiscoveryView]


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


class FrontPage(Document, kw_only=True):
    """What the server is doing now."""

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
    events: list[wire.Event]


class BoardPage(Document, kw_only=True):
    """One page of the leaderboard: `people` are those shown by name, on all pages."""

    schema: ClassVar[str] = "dsage.leaderboard/1"
    page: int
    pages: int
    people: int
    leaders: list[Leader]
    others: Others | None


class Share(msgspec.Struct, kw_only=True):
    """A volunteer's credit for one run."""

    pseudonym: str
    credit: float


class RunPage(Document, kw_only=True):
    """One run: `progress` is what its author reports beyond the fields of `run`."""

    schema: ClassVar[str] = "dsage.run/1"
    run: RunLine
    app: str
    step: int
    params: Opened
    progress: Opened
    result: Opened
    finders: list[wire.Finder]
    shares: list[Share]
    events: list[wire.Event]


class Copy(msgspec.Struct, kw_only=True):
    """One replica as anybody may see it; `reason` is the code of its failure."""

    replica: int
    pseudonym: str
    state: str
    leased: float
    reported: float | None
    cpu_s: float
    credit: float
    accepted: bool
    reason: str


class UnitPage(Document, kw_only=True):
    """One unit of work; `answer` is the accepted one, once the unit is valid and nobody could be paid for a copy."""

    schema: ClassVar[str] = "dsage.unit/1"
    unit: int
    run: int
    title: str
    key: str
    group: str
    state: str
    reason: str
    quorum: int
    unsent: int
    credit: float
    deadline_s: float
    created: float
    finished: float | None
    args: Opened
    answer: Opened
    replicas: list[Copy]
    events: list[wire.Event]


class StatusPage(Document, kw_only=True):
    """The server at a glance."""

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


Load = Callable[[Connection, Asked], Document]


def front(connection: Connection, asked: Asked) -> FrontPage:
    """Return the front page."""
    glance = views.status(connection, asked.server_id, asked.name, asked.now)
    lines = [run_line(view) for view in glance.runs]
    leaders, others = _board(connection, asked.now, FRONT_ROWS, 0)
    earned = views.everybody(connection)
    return FrontPage(
        name=asked.name, hosts_live=glance.hosts_live, volunteers=glance.volunteers,
        active=glance.units.get(UnitState.ACTIVE, 0) + glance.units.get(UnitState.COMPARING, 0),
        valid=glance.units.get(UnitState.VALID, 0), credit=sum(some.amount_milli for some in earned.values()) / 1000,
        running=[line for line in lines if line.state in OPEN_RUNS],
        ended=[line for line in lines if line.state not in OPEN_RUNS][:5],
        leaders=leaders, others=others, people=earned[True].people, events=_events(connection, FRONT_EVENTS),
    )  # fmt: skip


def leaderboard(connection: Connection, asked: Asked) -> BoardPage:
    """Return one page of the leaderboard; raises NotFound for a page that there is not."""
    people = views.everybody(connection)[True].people
    pages = min(MOST_PAGES, max(1, -(-people // PAGE_ROWS)))
    if not 1 <= asked.number <= pages:
        raise NotFound(f"the leaderboard has no page {asked.number}", hint=f"It has {pages}.")
    leaders, others = _board(connection, asked.now, PAGE_ROWS, (asked.number - 1) * PAGE_ROWS)
    return BoardPage(page=asked.number, pages=pages, people=people, leaders=leaders, others=others)


def run_page(connection: Connection, asked: Asked) -> RunPage:
    """Return one run; raises NotFound."""
    view = views.run_view(connection, asked.number, asked.now)
    progress = plain.opened(view.progress, f"`dsage watch {view.run}`")
    own = {name: item for name, item in plain.mapping(progress.value).items() if name not in SPECIAL}
    result = plain.opened(view.result, f"`dsage results {view.run}`")
    numbers = shape_of(result.value).units(result.value)
    credit = views.credit_of_run(connection, view.run, PAGE_ROWS)
    return RunPage(
        run=run_line(view), app=view.app, step=view.step, params=plain.opened(view.params, f"`dsage watch {view.run}`"),
        progress=Opened(own or None, progress.note), result=result,
        finders=views.finders(connection, view.run, numbers) if numbers else [],
        shares=[Share(pseudonym=name, credit=amount / 1000) for name, amount in credit.items()],
        events=_events(connection, RUN_EVENTS, event.c.run_id == view.run),
    )  # fmt: skip


def unit_page(connection: Connection, asked: Asked) -> UnitPage:
    """Return one unit with its replicas; raises NotFound."""
    row = connection.execute(
        select(unit, run.c.title, stored.c.value, blob.c.bytes)
        .join(run, run.c.id == unit.c.run_id)
        .outerjoin(stored, stored.c.replica_id == unit.c.canonical_id)
        .outerjoin(blob, blob.c.sha256 == stored.c.blob)
        .where(unit.c.id == asked.number)
    ).first()
    if row is None:
        raise NotFound(f"there is no unit {asked.number}")
    args = args_of(connection, row.id)
    command = f"`dsage results {row.run_id}`"
    answer = plain.opened(row.value, command, row.bytes or 0) if row.state == UnitState.VALID else Opened()
    if answer != Opened() and _may_be_answered(connection, row.id, asked.now):
        answer = Opened(note="it is shown once nobody else can answer this unit any more")
    return UnitPage(
        unit=row.id, run=row.run_id, title=row.title, key=row.key, group=row.grp, state=row.state, reason=row.reason,
        quorum=row.quorum, unsent=row.unsent, credit=row.credit_milli / 1000, deadline_s=row.deadline_s,
        created=row.created, finished=row.finished, args=plain.opened(args, command), answer=answer,
        replicas=_copies(connection, row), events=_events(connection, RUN_EVENTS, event.c.unit_id == row.id),
    )  # fmt: skip


def _may_be_answered(connection: Connection, number: int, now: float) -> bool:
    """Whether a copy of a unit could still bring an answer, which would be paid if it is the accepted one."""
    open_copies = select(replica.c.id).where(
        replica.c.unit_id == number, replica.c.state.in_(["leased", "expired"]), replica.c.hard_deadline >= now
    )
    return connection.execute(select(exists(open_copies))).scalar_one()


def status(connection: Connection, asked: Asked) -> StatusPage:
    """Return the server at a glance."""
    glance = views.status(connection, asked.server_id, asked.name, asked.now)
    return StatusPage(
        server_id=glance.server_id, name=glance.name, version=glance.version, time=glance.time,
        volunteers=glance.volunteers, hosts_live=glance.hosts_live, units=glance.units, replicas=glance.replicas,
        runs=[run_line(view) for view in glance.runs],
    )  # fmt: skip


def ledger_days(connection: Connection, asked: Asked) -> LedgerDays:
    """The chain of the ledger's closed days, for whoever wants to keep a hash."""
    return LedgerDays(
        days=[
            LedgerDay(
                number=each.number, day=daybook.date_of(each.day).isoformat(), entries=each.entries,
                credit=each.amount_milli / 1000, hash=each.hash,
            )
            for each in daybook.days(connection, LEDGER_DAYS)
        ]
    )  # fmt: skip


def steady_hands(connection: Connection, asked: Asked) -> SteadyHands:
    """The board that is not about speed, from what was counted last."""
    found = earned.steady_board(connection, PAGE_ROWS)
    hands = [SteadyHand(pseudonym=name, weeks=weeks) for name, weeks in found]
    return SteadyHands(of_weeks=STEADY_WEEKS, hands=hands)


def discovered(connection: Connection, asked: Asked) -> Discoveries:
    """A page of the published discoveries."""
    pages = min(max(1, -(-discoveries.count_public(connection) // PAGE_ROWS)), MOST_PAGES)
    if not 1 <= asked.number <= pages:
        raise NotFound(f"there is no page {asked.number} of the discoveries")
    found = discoveries.public(connection, limit=PAGE_ROWS, offset=(asked.number - 1) * PAGE_ROWS)
    for view in found:
        view.link = f"/discovery/{view.id}.svg"
    return Discoveries(page=asked.number, pages=pages, discoveries=found)


def run_line(view: wire.RunView) -> RunLine:
    """Return a run in one line, with what its author's progress says in the words every view knows."""
    told = plain.mapping(plain.opened(view.progress, "").value)
    running = view.state in OPEN_RUNS
    eta = plain.finite(told.get("eta_s"))
    return RunLine(
        run=view.run, project=view.project, title=view.title or view.project,
        about=plain.about(plain.opened(view.params, "").value), state=view.state, reason=view.reason,
        created=view.created, finished=view.finished, phase=_text(told.get("phase")) if running else "",
        summary=_text(told.get("summary")),
        fraction=1.0 if view.state == RunState.DONE else plain.fraction(told.get("fraction")),
        eta_s=eta if running and eta is not None and eta >= 0 else None,
        credit=view.credit_milli / 1000, volunteers=view.volunteers, units=view.units, replicas=view.replicas,
        priority=view.priority, platforms=view.platforms, tags=view.tags,
    )  # fmt: skip


SPECIAL: Final = frozenset({"phase", "fraction", "eta_s", "summary"})
"""Keys of a run's progress that have their own place on a page."""


def _text(value: Value) -> str:
    return value[:300] if isinstance(value, str) else ""


def _board(connection: Connection, now: float, limit: int, offset: int) -> tuple[list[Leader], Others | None]:
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


def _events(connection: Connection, limit: int, *where: Any) -> list[wire.Event]:
    """Return the newest events, newest first."""
    return [
        wire.Event(id=row.id, at=row.at, kind=row.kind, text=row.text, run=row.run_id, unit=row.unit_id)
        for row in connection.execute(select(event).where(*where).order_by(event.c.id.desc()).limit(limit))
    ]


def _copies(connection: Connection, row: Any) -> list[Copy]:
    own = credit_entry.c.replica_id == replica.c.id
    paid = select(func.sum(credit_entry.c.amount_milli)).where(own, ~credit_entry.c.house)
    rows = connection.execute(
        select(
            replica.c.id, replica.c.state, replica.c.leased, replica.c.reported, replica.c.cpu_s, replica.c.reason,
            volunteer.c.pseudonym, volunteer.c.public, paid.scalar_subquery().label("amount_milli"),
        )
        .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
        .where(replica.c.unit_id == row.id)
        .order_by(replica.c.id)
    )  # fmt: skip
    return [
        Copy(
            replica=one.id, pseudonym=one.pseudonym if one.public else NOBODY, state=one.state, leased=one.leased,
            reported=one.reported, cpu_s=one.cpu_s, credit=(one.amount_milli or 0) / 1000,
            accepted=one.id == row.canonical_id, reason=one.reason.partition(":")[0][:MAX_REASON],
        )
        for one in rows
    ]  # fmt: skip
