"""One run, what it made, and those of its units that are over."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, bindparam, func, literal_column, select

from dsage import wire
from dsage.errors import NotFound
from dsage.states import UnitState
from dsage.trust.documents import UnitDocument
from dsage_server.store import paintings, projects, public, views
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.over import over
from dsage_server.store.schema import among, answer, archive, event, signed_unit, unit
from dsage_server.store.tiles import Picture
from dsage_server.web import plain
from dsage_server.web.page import NUMBERED, SEARCHED, Asked, Document, Page, choice
from dsage_server.web.plain import Opened
from dsage_server.web.public.lines import (
    MOST_PAGES,
    PAGE_ROWS,
    RUN_EVENTS,
    SPECIAL,
    RunLine,
    events,
    run_line,
)
from dsage_server.web.shapes import Curve, curve_of, shape_of

LOOKED_AT: Final = 2000
"""Failed units of a run that are looked at."""
DAY_S: Final = 86400.0


class Share(msgspec.Struct, kw_only=True):
    """A volunteer's credit for one run."""

    pseudonym: str
    credit: float


class Failed(msgspec.Struct, kw_only=True):
    """Units that failed for one reason, by its code ("": no answer was agreed on)."""

    code: str
    units: int


class RunPage(Document, kw_only=True):
    """One run: `progress` is what its author reports beyond the fields of `run`; `by` is who describes the project.

    Until `public.FEW` units are valid, or the run has ended, `shares` is empty. `rate` is valid units a day. `of` is
    whose tiles of the `picture` are outlined; `curves` found the factors of the `result`.
    """

    schema: ClassVar[str] = "dsage.run/2"
    run: RunLine
    by: str
    app: str
    step: int
    rate: float
    params: Opened
    progress: Opened
    result: Opened
    finders: list[wire.Finder]
    curves: list[Curve]
    picture: Picture | None
    of: str
    failures: list[Failed]
    shares: list[Share]
    discoveries: list[wire.DiscoveryView]
    events: list[wire.Event]


class UnitLine(msgspec.Struct, kw_only=True):
    """A unit that is over."""

    unit: int
    key: str
    state: str
    reason: str
    credit: float
    finished: float | None


class UnitsPage(Document, kw_only=True):
    """Units of a run in one final state, those left out that are not over for everybody; none if it was `archived`."""

    schema: ClassVar[str] = "dsage.units/1"
    run: int
    title: str
    state: str
    page: int
    pages: int
    counts: dict[str, int]
    archived: float | None
    units: list[UnitLine]


def run_page(connection: Connection, asked: Asked) -> RunPage:
    """Return one run; raises NotFound."""
    view = views.run_view(connection, asked.number, asked.now)
    progress = plain.opened(view.progress, f"`dsage watch {view.run}`")
    own = {name: item for name, item in plain.mapping(progress.value).items() if name not in SPECIAL}
    result = plain.opened(view.result, f"`dsage results {view.run}`")
    found = shape_of(result.value).units(result.value)
    line = run_line(view)
    valid = view.units.get(UnitState.VALID, 0)
    lasted = (asked.now if view.finished is None else view.finished) - view.created
    return RunPage(
        run=line, by=_by(connection, view.project), app=view.app, step=view.step, rate=valid * DAY_S / max(lasted, 1.0),
        params=plain.opened(view.params, f"`dsage watch {view.run}`"),
        progress=Opened(own or None, progress.note), result=result,
        finders=public.finders(connection, view.run, found, asked.now) if found else [],
        curves=_curves(connection, found, asked.now), picture=paintings.picture(connection, view.run, asked.now),
        of=asked.query["of"], failures=_failures(connection, view.run),
        shares=[Share(pseudonym=name, credit=n / 1000) for name, n in public.credit(connection, view).items()],
        discoveries=_linked(view.discoveries),
        events=events(connection, RUN_EVENTS, event.c.run_id == view.run, public.IS_OF_RUN),
    )  # fmt: skip


def units_page(connection: Connection, asked: Asked) -> UnitsPage:
    """Return some of the units of a run that are over; raises NotFound."""
    view = views.run_view(connection, asked.number, asked.now)
    state, line = asked.query["state"], run_line(view)
    archived = connection.execute(_ARCHIVED, {"run": view.run}).scalar()
    there = 0 if archived else view.units.get(state, 0)
    pages = min(MOST_PAGES, max(1, -(-there // PAGE_ROWS)))
    if asked.page > pages:
        raise NotFound(f"run {view.run} has no page {asked.page} of such units", hint=f"There are {pages}.")
    rows = connection.execute(
        _OF_STATE[state], {"run": view.run, "start": 0, "most": PAGE_ROWS, "before": (asked.page - 1) * PAGE_ROWS}
    ).all()
    shown = over(connection, [row.id for row in rows], asked.now)
    return UnitsPage(
        run=view.run, title=line.title, state=state, page=asked.page, pages=pages, counts=line.units,
        archived=archived,
        units=[
            UnitLine(
                unit=row.id, key=row.key, state=row.state, reason=row.reason, credit=row.credit_milli / 1000,
                finished=row.finished,
            )
            for row in rows if row.id in shown
        ],
    )  # fmt: skip


def _by(connection: Connection, project: str) -> str:
    try:
        return projects.find(connection, project).by
    except NotFound:
        return ""


def _linked(found: list[wire.DiscoveryView]) -> list[wire.DiscoveryView]:
    for each in found:
        each.link = f"/discovery/{each.id}"
    return found


def _curves(connection: Connection, found: list[int], now: float) -> list[Curve]:
    """Return how units that are over found factors, as far as their answers tell."""
    if not found:
        return []
    rows = connection.execute(_FOUND, {"ids": numbers(connection, over(connection, found[:PAGE_ROWS], now))})
    told = []
    for row in rows:
        args = msgspec.json.decode(row.document, type=UnitDocument).args
        told.append(curve_of(row.id, plain.opened(args, "").value, plain.opened(row.value, "").value))
    return [curve for curve in told if curve is not None]


def _failures(connection: Connection, number: int) -> list[Failed]:
    rows = connection.execute(_FAILURES, {"run": number, "start": 0, "most": LOOKED_AT})
    return [Failed(code=row.code, units=row.n) for row in rows]


def _listed(*columns: Any) -> Any:
    return select(*columns).where(unit.c.run_id == bindparam("run"), unit.c.id >= bindparam("start"))


_ARCHIVED: Final = select(archive.c.made).where(archive.c.run_id == bindparam("run"))
_FOUND: Final = (
    select(unit.c.id, signed_unit.c.document, answer.c.value)
    .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
    .join(answer, answer.c.replica_id == unit.c.canonical_id)
    .where(among_ids(unit.c.id))
)
_LINE: Final = (unit.c.id, unit.c.key, unit.c.state, unit.c.reason, unit.c.credit_milli, unit.c.finished)
_IS_FAILED: Final = unit.c.state == literal_column("'failed'")
_HAS_ENDED: Final = among(unit.c.state, [UnitState.VALID, UnitState.CANCELLED])
_WHERE: Final = {
    "valid": (_HAS_ENDED, unit.c.state == literal_column("'valid'")),
    "cancelled": (_HAS_ENDED, unit.c.state == literal_column("'cancelled'")),
    "failed": (_IS_FAILED,),
}
"""The words of the partial indexes on units that have ended."""
_OF_STATE: Final = {
    state: _listed(*_LINE).where(*where).order_by(unit.c.id).limit(bindparam("most")).offset(bindparam("before"))
    for state, where in _WHERE.items()
}
_SOME_FAILED: Final = _listed(unit.c.code).where(_IS_FAILED).order_by(unit.c.id).limit(bindparam("most")).subquery()
_FAILURES: Final = (
    select(_SOME_FAILED.c.code, func.count().label("n")).group_by(_SOME_FAILED.c.code).order_by(func.count().desc())
)

PAGES: Final = (
    Page(
        template="run", route=r"/run/{number:\d+}", load=run_page, document=RunPage, live=True, params={"of": SEARCHED},
        period_s=2.0,
    ),
    Page(
        template="units", route=r"/run/{number:\d+}/units", load=units_page, document=UnitsPage,
        params={"state": choice("valid", "failed", "cancelled"), "page": NUMBERED},
    ),
)  # fmt: skip
