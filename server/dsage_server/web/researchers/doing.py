"""What a researcher does to a run on its page: each asks once more, and is done by the same code as the command's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from aiohttp import web
from sqlalchemy import Connection, select

from dsage import wire
from dsage.errors import Conflict
from dsage.states import OPEN_RUNS, OPEN_UNITS, RunState
from dsage_server.certified import certified
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.store import projects, views
from dsage_server.store.hosting import REMEMBERED
from dsage_server.store.meta import recall
from dsage_server.store.schema import run
from dsage_server.web import plain
from dsage_server.web.forms import form_of
from dsage_server.web.plain import Opened
from dsage_server.web.public.lines import RunLine, run_line
from dsage_server.web.researchers.desk import FORM, Desk, Sheet, asked, lost, numbered, own
from dsage_server.web.visitors import PRIVATE

Act = Callable[[Hub, Session, int, int], Awaitable[None]]


async def _pause(hub: Hub, session: Session, number: int, unit: int) -> None:
    await hub.control.pause(session, number)


async def _resume(hub: Hub, session: Session, number: int, unit: int) -> None:
    await hub.control.resume(session, number)


async def _cancel(hub: Hub, session: Session, number: int, unit: int) -> None:
    await hub.requests.cancel(session, number)


async def _retry(hub: Hub, session: Session, number: int, unit: int) -> None:
    await hub.control.retry(session, number, wire.Chosen(units=[unit] if unit else []))


async def _retire(hub: Hub, session: Session, number: int, unit: int) -> None:
    await hub.control.retire(session, number)


async def _host(hub: Hub, session: Session, number: int, unit: int) -> None:
    await hub.requests.host(session, number)


ACTS: Final[dict[str, Act]] = {
    "pause": _pause, "resume": _resume, "retry": _retry, "host": _host, "retire": _retire, "cancel": _cancel,
}  # fmt: skip
"""In the order of a page; what cannot be taken back comes last."""


class SureSheet(Sheet, kw_only=True):
    """What is about to be done to a run: `unit` is the only unit that it is about (0: all); `open_units` end with a
    run that is cancelled. `researcher` made a run that waits for approval."""

    schema: ClassVar[str] = "dsage.sure/1"
    act: str
    run: RunLine
    unit: int = 0
    open_units: int = 0
    all_units: int = 0
    researcher: str = ""
    app: str = ""
    params: Opened = Opened()


class Doing:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        acts = r"/runs/{number:\d+}/{act:" + "|".join(ACTS) + "}"
        app.router.add_get(acts + FORM, self.ask)
        app.router.add_post(acts, self.do)
        app.router.add_get(r"/runs/{number:\d+}/approve" + FORM, self.look_over)
        app.router.add_post(r"/runs/{number:\d+}/approve", self.approve)

    async def ask(self, request: web.Request) -> web.Response:
        """Ask once more."""
        number, act, unit = numbered(request), request.match_info["act"], asked(request.query, "unit", 0)

        def load(connection: Connection, session: Session) -> SureSheet:
            own(connection, session, number)
            view = views.run_view(connection, number, self.desk.hub.clock())
            hosting = recall(connection, REMEMBERED) == "on"
            if act not in possible(view, hosting=hosting, waits=_waits(connection, number)):
                raise Conflict(f"run {number} is {view.state}", hint="Its page says what can be done to it now.")
            return SureSheet(
                act=act, run=run_line(view), unit=unit, all_units=sum(view.units.values()),
                open_units=sum(view.units.get(state, 0) for state in OPEN_UNITS),
            )  # fmt: skip

        return await self.desk.sheet(request, "researcher_sure", load)

    async def do(self, request: web.Request) -> web.Response:
        """Do it, and go back to the run."""
        number, act = numbered(request), request.match_info["act"]
        session = await self.desk.who(request)
        await self.desk.hub.store.read(lambda connection: own(connection, session, number))
        unit = asked(await form_of(request), "unit", 0)
        await ACTS[act](self.desk.hub, session, number, unit)
        return web.Response(status=303, headers={"Location": f"/runs/{number}", **PRIVATE})

    async def look_over(self, request: web.Request) -> web.Response:
        """Show a newcomer's first run to whoever may approve it."""
        number = numbered(request)

        def load(connection: Connection, session: Session) -> SureSheet:
            view = self._approvable(connection, session, number)
            return SureSheet(
                act="approve", run=run_line(view), researcher=view.researcher, app=view.app,
                params=plain.opened(view.params, f"`dsage show {number}`"),
            )  # fmt: skip

        return await self.desk.sheet(request, "researcher_sure", load)

    async def approve(self, request: web.Request) -> web.Response:
        """Let a newcomer's first run go on."""
        number, session = numbered(request), await self.desk.who(request)
        await self.desk.hub.store.read(lambda connection: self._approvable(connection, session, number))
        await self.desk.hub.control.approve(session, number)
        return web.Response(status=303, headers={"Location": "/runs", **PRIVATE})

    def _approvable(self, connection: Connection, session: Session, number: int) -> wire.RunView:
        """Return a run that waits for a second person, who may be this one. Raises NotFound for any other."""
        hub = self.desk.hub
        names = {known.key: known.name for known in hub.chain.root.code_keys}
        if not _waits(connection, number):
            raise lost(number)
        owner = connection.execute(select(run.c.researcher).where(run.c.id == number)).scalar_one()
        view = views.run_view(connection, number, hub.clock(), names)
        if owner == session.key or view.project not in certified(hub.chain, session.key, hub.clock()).projects:
            raise lost(number)
        return view


def possible(view: wire.RunView, *, hosting: bool, waits: bool) -> list[str]:
    """Return what can be done to a run as it stands; `hosting` is whether the server drives any, and a run that
    `waits` for approval can only be cancelled."""
    failed = bool(view.units.get("failed"))
    can = {
        "pause": view.state == RunState.RUNNING,
        "resume": view.state == RunState.PAUSED,
        "retry": view.state == RunState.FAILED or (failed and view.state in OPEN_RUNS),
        "host": hosting and view.state in OPEN_RUNS and not view.hosted,
        "retire": view.finished is not None and "archived on" not in view.reason,
        "cancel": view.state in OPEN_RUNS,
    }
    return [act for act in ACTS if can[act] and (not waits or act == "cancel")]


def _waits(connection: Connection, number: int) -> bool:
    return recall(connection, f"approval:{number}") == projects.WAITING
