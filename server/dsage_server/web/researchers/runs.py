"""A researcher's runs in a list, and one of them with all that only its researcher sees."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from aiohttp import web
from sqlalchemy import Connection, func, select

from dsage import wire
from dsage.errors import NotFound
from dsage.states import OPEN_RUNS
from dsage_server.certified import certified
from dsage_server.sessions import Session
from dsage_server.store import looking, projects, quotas, views
from dsage_server.store.hosting import REMEMBERED
from dsage_server.store.meta import recall
from dsage_server.store.schema import event, run, tally
from dsage_server.web import plain
from dsage_server.web.plain import Opened
from dsage_server.web.public.lines import RUN_EVENTS, RunLine, events, run_line
from dsage_server.web.researchers.desk import FORM, Desk, Sheet, asked, numbered, own
from dsage_server.web.researchers.doing import possible
from dsage_server.web.researchers.failing import Failures, Row, failures

LIST_ROWS: Final = 50
TOLD: Final = 8
"""Copies whose last lines a run's page shows."""
LAST_LINES: Final = 15
VERSIONS: Final = 20


class Driver(msgspec.Struct, kw_only=True):
    """Who drives a run: "server", "here", "away", "nobody", or "" when it has ended."""

    who: str
    seen: float | None


class Held(msgspec.Struct, kw_only=True):
    """Of something that a key may have a number at a time (runs, open units, bytes): what it has and may have."""

    what: str
    used: int
    limit: int


class Waiting(msgspec.Struct, kw_only=True):
    """A newcomer's first run that waits for a second person."""

    run: int
    title: str
    project: str
    researcher: str
    created: float


class MyRun(msgspec.Struct, kw_only=True):
    """A run with what its researcher looks for first."""

    line: RunLine
    driver: Driver
    failed_units: int
    failed_copies: int


class RunsSheet(Sheet, kw_only=True):
    """The researcher's runs, what the key may have and has, and what waits for this person's approval.

    `versions` are the newest versions of apps, by the beginning of their hash, with how the copies of all their runs
    ended; of those `units` is how many units were given up.
    """

    schema: ClassVar[str] = "dsage.my-runs/1"
    researcher: str
    projects: list[str]
    until: float
    runs: list[MyRun]
    all: int
    page: int
    pages: int
    held: list[Held]
    waiting: list[Waiting]
    versions: list[Row]


class Copy(msgspec.Struct, kw_only=True):
    """A copy and the end of what it printed; `output` and `detail` (of a traceback) are their last lines."""

    unit: int
    replica: int
    state: str
    reason: str
    detail: str
    output: str
    started: float
    ended: float | None
    cpu_s: float
    platform: str


class RunSheet(Sheet, kw_only=True):
    """One run of the researcher's: how it stands, what failed where, the last lines of output, and what can be done."""

    schema: ClassVar[str] = "dsage.my-run/1"
    run: RunLine
    driver: Driver
    app: str
    step: int
    params: Opened
    result: Opened
    failures: Failures
    versions: list[Row]
    copies: list[Copy]
    events: list[wire.Event]
    actions: list[str]
    archived: bool


class Runs:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/runs" + FORM, self.all)
        app.router.add_get(r"/runs/{number:\d+}" + FORM, self.one)

    async def all(self, request: web.Request) -> web.Response:
        """All runs of the researcher."""
        page = asked(request.query, "page", 1)
        return await self.desk.sheet(request, "researcher_runs", lambda c, session: self._list(c, session, page))

    async def one(self, request: web.Request) -> web.Response:
        """One run."""
        number = numbered(request)
        return await self.desk.sheet(request, "researcher_run", lambda c, session: self._one(c, session, number))

    def _list(self, connection: Connection, session: Session, page: int) -> RunsSheet:
        hub, now = self.desk.hub, self.desk.hub.clock()
        known = certified(hub.chain, session.key, now)
        count = select(func.count()).select_from(run).where(run.c.researcher == session.key)
        total = int(connection.execute(count).scalar_one())
        pages = max(1, -(-total // LIST_ROWS))
        if page > pages:
            raise NotFound("there are no so many runs of yours", hint="`/runs` begins with the newest.")
        found = views.runs_of(connection, session.key, now, LIST_ROWS, (page - 1) * LIST_ROWS)
        may = quotas.allowed(connection, session.key, hub.quota)
        held = [
            Held(what=what, used=quotas.used(connection, session.key, what), limit=getattr(may, what))
            for what in quotas.WORDS
        ]
        return RunsSheet(
            researcher=known.name, projects=sorted(known.projects), until=known.expires,
            runs=[my_run(view, now) for view in found], all=total, page=page,
            pages=pages, held=held, waiting=self._waiting(connection, session),
            versions=versions(connection, session),
        )  # fmt: skip

    def _waiting(self, connection: Connection, session: Session) -> list[Waiting]:
        """Return what waits for approval that this researcher may give."""
        chain, now = self.desk.hub.chain, self.desk.hub.clock()
        mine = certified(chain, session.key, now).projects
        names = {known.key: known.name for known in chain.root.code_keys}
        query = select(run.c.id, run.c.title, run.c.project, run.c.researcher, run.c.created)
        rows = connection.execute(query.where(run.c.id.in_(projects.waiting(connection))).order_by(run.c.id))
        return [
            Waiting(
                run=row.id, title=row.title or row.project, project=row.project, created=row.created,
                researcher=names.get(row.researcher, ""),
            )
            for row in rows
            if row.project in mine and row.researcher != session.key
        ]  # fmt: skip

    def _one(self, connection: Connection, session: Session, number: int) -> RunSheet:
        own(connection, session, number)
        hub, now = self.desk.hub, self.desk.hub.clock()
        view = views.run_view(connection, number, now)
        sent = looking.sent(connection, number)
        hosted = recall(connection, REMEMBERED) == "on"
        waits = recall(connection, f"approval:{number}") == projects.WAITING
        return RunSheet(
            run=whole(view), driver=driver(view, now), app=view.app, step=view.step,
            params=plain.opened(view.params, f"`dsage show {number}`"),
            result=plain.opened(view.result, f"`dsage results {number}`"),
            failures=failures(sent, lambda host: hub.sessions.disguise(f"computer {number} {host}")),
            versions=versions(connection, session, view.project, view.title),
            copies=[copy(each) for each in looking.attempts(connection, number) if each.output or each.detail][:TOLD],
            events=events(connection, RUN_EVENTS, event.c.run_id == number),
            actions=possible(view, hosting=hosted, waits=waits), archived="archived on" in view.reason,
        )  # fmt: skip


def my_run(view: wire.RunView, now: float) -> MyRun:
    """Return a run as it stands in the list."""
    copies = sum(view.replicas.get(state, 0) for state in ("error", "invalid", "expired"))
    return MyRun(
        line=whole(view), driver=driver(view, now), failed_units=view.units.get("failed", 0), failed_copies=copies
    )


def whole(view: wire.RunView) -> RunLine:
    """Return a run in one line with all that its researcher may know: the counts and the reason that others are not
    told."""
    return msgspec.structs.replace(run_line(view), units=view.units, replicas=view.replicas, reason=view.reason)


def driver(view: wire.RunView, now: float) -> Driver:
    """Say who drives a run."""
    if view.state not in OPEN_RUNS:
        who = ""
    elif view.hosted:
        who = "server"
    elif view.driver_seen is None:
        who = "nobody"
    else:
        who = "here" if now - view.driver_seen < views.DRIVER_LIVE_S else "away"
    return Driver(who=who, seen=view.driver_seen)


def copy(each: wire.Attempt) -> Copy:
    """Return a copy with the last lines of what it printed, and of why it failed."""
    return Copy(
        unit=each.unit, replica=each.replica, state=each.state, reason=each.reason, detail=_last(each.detail),
        output=_last(each.output.decode("utf-8", "replace")), started=each.started, ended=each.ended,
        cpu_s=each.cpu_s, platform=each.platform,
    )  # fmt: skip


def versions(connection: Connection, session: Session, project: str = "", title: str = "") -> list[Row]:
    """Return how the copies ended of the newest versions of a researcher's apps, or (with a project and a title) of
    one; over all runs of each, from what is counted anyway."""
    mine = [run.c.researcher == session.key]
    if project:
        mine += [run.c.project == project, run.c.title == title]
    newest = func.max(run.c.id)
    query = select(run.c.app, run.c.title).where(*mine).group_by(run.c.app, run.c.title).order_by(newest.desc())
    apps = connection.execute(query.limit(VERSIONS)).all()
    counts = connection.execute(
        select(run.c.app, tally.c.what, func.sum(tally.c.n))
        .join(tally, tally.c.run_id == run.c.id)
        .where(*mine, run.c.app.in_([row.app for row in apps]))
        .group_by(run.c.app, tally.c.what)
    )
    told: dict[str, dict[str, int]] = {}
    for app, what, n in counts:
        told.setdefault(app, {})[what] = int(n)
    return [_version(row.app, row.title, told.get(row.app, {}), alone=bool(project)) for row in apps]


def _version(app: str, title: str, sums: dict[str, int], *, alone: bool) -> Row:
    copies = sum(n for what, n in sums.items() if what.startswith("replica."))
    return Row(
        name=app[:12] if alone else f"{title or '?'} {app[:12]}", copies=copies, valid=sums.get("replica.valid", 0),
        error=sums.get("replica.error", 0), wrong=sums.get("replica.invalid", 0),
        late=sums.get("replica.expired", 0), units=sums.get("unit.failed", 0),
    )  # fmt: skip


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LAST_LINES:])
