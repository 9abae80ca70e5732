"""Following a run: showing it while somebody drives it, and telling how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from dsage import codec
from dsage.cli.output import emit
from dsage.cli.terminal import Screen, progress_of
from dsage.cli.values import as_json, as_text, shown
from dsage.driver import Driver
from dsage.errors import Busy, Conflict, ServerAway
from dsage.states import OPEN_RUNS, RunState
from dsage.wire import Event, RunView

SCHEMA: Final = "dsage.run/1"
EVERY_S: Final = 1.0
"""Between two looks at a run; a look costs the server one small query."""
EVENTS_KEPT: Final = 20
UNFINISHED: Final = 8
CANCELLED: Final = 9


class Looker(Protocol):
    """What following needs of a server."""

    async def run(self, run: int) -> RunView:
        """Return the run."""

    async def events(self, run: int, *, after: int = 0, wait_s: float = 0.0) -> list[Event]:
        """Return what happened after an event."""


async def follow(
    api: Looker,
    run: int,
    screen: Screen,
    *,
    quiet: bool = False,
    until: Callable[[RunView], bool] = lambda view: False,
) -> RunView:
    """Show the run until it ends or `until` says so, and return how it stands.

    A server that is away is waited for, `quiet` or not.
    """
    events: list[Event] = []
    away = False
    while True:
        try:
            view = await api.run(run)
            events += await api.events(run, after=events[-1].id if events else 0)
        except (ServerAway, Busy) as error:
            if not away and not quiet:
                screen.say(f"{error.message}; looking again every {EVERY_S:g} s")
            away = True
        else:
            away = False
            del events[:-EVENTS_KEPT]
            screen.show(view, events)
            if view.state not in OPEN_RUNS or until(view):
                return view
        await asyncio.sleep(EVERY_S)


async def drive_and_show(api: Looker, driver: Driver, run: int, screen: Screen) -> RunView:
    """Drive the run to its end while showing it. Raises Conflict if another driver takes over meanwhile."""
    shower = asyncio.create_task(follow(api, run, screen, quiet=True))
    try:
        await driver.drive()
    except Conflict:
        if (await api.run(run)).state in OPEN_RUNS:
            raise
    finally:
        shower.cancel()
        await asyncio.gather(shower, return_exceptions=True)
    return await follow(api, run, screen)


def exit_status(view: RunView) -> int:
    """Return the exit status that an ended run deserves: 0, 8 or 9."""
    if view.state == RunState.CANCELLED:
        return CANCELLED
    answer = result_of(view)
    unfinished = isinstance(answer, dict) and bool(answer.get("unfinished"))
    return UNFINISHED if view.state == RunState.FAILED or unfinished else 0


def result_of(view: RunView) -> Any:
    """Return the run's answer, or None while there is none."""
    return None if view.result is None else codec.decode(view.result)


def document(view: RunView) -> dict[str, Any]:
    """Return the run as the data of a `dsage.run/1` document."""
    return {
        "run": view.run,
        "project": view.project,
        "title": view.title,
        "app": view.app,
        "state": view.state,
        "reason": view.reason,
        "priority": view.priority,
        "platforms": view.platforms,
        "tags": view.tags,
        "created": view.created,
        "finished": view.finished,
        "step": view.step,
        "units": view.units,
        "replicas": view.replicas,
        "volunteers": view.volunteers,
        "credit": view.credit_milli / 1000,
        "params": as_json(codec.decode(view.params)),
        "progress": as_json(progress_of(view)),
        "result": as_json(result_of(view)),
    }


def tell(view: RunView, json_wanted: bool) -> int:
    """Print an ended run's answer, or why there is none, and return the exit status."""
    emit(SCHEMA, document(view), json_wanted, answer_text(view))
    return exit_status(view)


def answer_text(view: RunView) -> str:
    """Return the run's answer as text, empty if there is none."""
    return as_text(result_of(view)) if view.result is not None else ""


def ending(view: RunView) -> str:
    """Return the sentence that tells how a run ended."""
    reason = f": {shown(view.reason, 500)}" if view.reason else ""
    return f"run {view.run} is {view.state}{reason}"
