"""The units of a researcher's run with their arguments and answers, the copies of one, and all of them as files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar, Final

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from dsage import exports, wire
from dsage.errors import NotFound
from dsage.states import UnitState
from dsage_server.blobs import answers
from dsage_server.sessions import Session
from dsage_server.store import looking, views
from dsage_server.web import plain
from dsage_server.web.plain import Opened
from dsage_server.web.researchers.desk import FORM, Desk, Sheet, asked, numbered, own
from dsage_server.web.researchers.runs import Copy, copy
from dsage_server.web.visitors import PRIVATE

PAGE_UNITS: Final = 50
FILE_UNITS: Final = 500
"""Units read at a time for a file."""
TYPES: Final = {
    "json": "application/json", "jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8",
}  # fmt: skip
ENDED: Final = frozenset({UnitState.VALID, UnitState.FAILED})
"""Units that have a row in a file: cancelled ones have neither an answer nor a failure."""


class Line(msgspec.Struct, kw_only=True):
    """A unit in a list."""

    unit: int
    key: str
    group: str
    state: str
    failed: str
    code: str
    attempts: int
    cpu_s: float
    args: Opened
    value: Opened


class UnitsSheet(Sheet, kw_only=True):
    """Units of a run in the order of their ids: of one `state` or (empty) all, above the id `after`; `more` is whether
    others follow. `counts` are by state."""

    schema: ClassVar[str] = "dsage.my-units/1"
    run: int
    title: str
    state: str
    after: int
    counts: dict[str, int]
    units: list[Line]
    more: bool


class UnitSheet(Sheet, kw_only=True):
    """One unit, and its copies with what they printed, the newest first, those that failed before them."""

    schema: ClassVar[str] = "dsage.my-unit/1"
    run: int
    title: str
    line: Line
    copies: list[Copy]
    can_retry: bool


class Units:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(r"/runs/{number:\d+}/units" + FORM, self.listed)
        app.router.add_get(r"/runs/{number:\d+}/units/{unit:\d+}" + FORM, self.one)
        app.router.add_get(r"/runs/{number:\d+}/results.{kind:" + "|".join(TYPES) + "}", self.file)

    async def listed(self, request: web.Request) -> web.Response:
        """Units of a run."""
        number, after = numbered(request), asked(request.query, "after", 0)
        state = request.query.get("state", "")

        def load(connection: Connection, session: Session) -> UnitsSheet:
            own(connection, session, number)
            view = views.run_view(connection, number, self.desk.hub.clock())
            page, large = looking.unit_page(connection, number, after, PAGE_UNITS, state)
            return UnitsSheet(
                run=number, title=view.title or view.project, state=state, after=after, counts=view.units,
                units=[_line(unit, number, elsewhere=unit.unit in large) for unit in page.units], more=page.more,
            )  # fmt: skip

        return await self.desk.sheet(request, "researcher_units", load)

    async def one(self, request: web.Request) -> web.Response:
        """One unit of a run."""
        number, unit = numbered(request), numbered(request, "unit")

        def load(connection: Connection, session: Session) -> UnitSheet:
            own(connection, session, number)
            view = views.run_view(connection, number, self.desk.hub.clock())
            copies = looking.attempts(connection, number, unit)
            page, large = looking.unit_page(connection, number, unit - 1, 1, "")
            if not page.units or page.units[0].unit != unit:
                raise NotFound(f"run {number} has no unit {unit}")
            found = page.units[0]
            return UnitSheet(
                run=number, title=view.title or view.project, line=_line(found, number, elsewhere=unit in large),
                copies=[copy(each) for each in copies],
                can_retry=found.state == UnitState.FAILED and view.state not in ("done", "cancelled"),
            )  # fmt: skip

        return await self.desk.sheet(request, "researcher_unit", load)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """What `dsage results --format` writes, sent as it is read."""
        number, kind = numbered(request), request.match_info["kind"]
        session, hub = await self.desk.who(request), self.desk.hub

        def look(connection: Connection) -> wire.RunView:
            own(connection, session, number)
            return views.run_view(connection, number, hub.clock())

        view = await hub.store.read(look)
        name = f'attachment; filename="run-{number}.{kind}"'
        response = web.StreamResponse(headers={"Content-Type": TYPES[kind], "Content-Disposition": name, **PRIVATE})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        first = True
        await response.write(_head(kind, view))
        async for units in self._pages(number):
            await response.write(await asyncio.to_thread(_body, kind, view, units, first))
            first = False
        if kind == "json":
            await response.write(b"]}}\n")
        await response.write_eof()
        return response

    async def _pages(self, number: int) -> AsyncIterator[list[wire.UnitView]]:
        """Yield the units of a run that have ended, with their values, some at a time."""
        hub, after, more = self.desk.hub, 0, True
        while more:
            page, large = await hub.store.read(
                lambda c, above=after: looking.unit_page(c, number, above, FILE_UNITS, "")  # type: ignore[misc]
            )
            for unit in page.units:
                if unit.unit in large:
                    unit.value = await answers.read(hub.blobs, large[unit.unit])
            ended = [unit for unit in page.units if unit.state in ENDED]
            if ended:
                yield ended
            more = page.more and bool(page.units)
            after = page.units[-1].unit if page.units else after


def _head(kind: str, view: wire.RunView) -> bytes:
    if kind == "csv":
        return exports.csv_line(exports.COLUMNS)
    if kind == "jsonl":
        return b""
    about = {name: value for name, value in exports.about(view).items() if name != "schema"}
    head = msgspec.json.encode({"schema": exports.SCHEMA, "data": about})
    return head[:-2] + b',"units":['


def _body(kind: str, view: wire.RunView, units: list[wire.UnitView], first: bool) -> bytes:
    rows = exports.rows(view, units)
    if kind != "json":
        return b"".join(exports.unit_lines(kind, rows))
    return (b"" if first else b",") + b",".join(_stripped(exports.json_line(row) for row in rows))


def _stripped(lines: Iterator[bytes]) -> Iterator[bytes]:
    return (line.rstrip(b"\n") for line in lines)


def _line(unit: wire.UnitView, number: int, *, elsewhere: bool) -> Line:
    where = f"`dsage results {number}`"
    value = Opened(note=f"it is large: {where} fetches it") if elsewhere else plain.opened(unit.value, where)
    return Line(
        unit=unit.unit, key=unit.key, group=unit.group, state=unit.state, failed=unit.failed, code=unit.code,
        attempts=unit.attempts, cpu_s=unit.cpu_s, args=plain.opened(unit.args, where), value=value,
    )  # fmt: skip
