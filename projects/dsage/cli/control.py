"""What the owner of a run may do to it: `dsage cancel`, `retry`, `reopen`, `host`, `retire`, pausing and resuming."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import click

from dsage.cli.asking import sure
from dsage.cli.following import SCHEMA, document
from dsage.cli.options import json_option, key_option, run_argument, server_option, yes_option
from dsage.cli.output import count, emit, say
from dsage.cli.values import shown
from dsage.errors import Conflict, NotFound
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.states import OPEN_RUNS, RunState, UnitState
from dsage.trust.invite import Link
from dsage.wire import RunView, UnitView

TIMEOUTS: Final = ("cpu", "wall")
"""The failures of units that ran out of time."""
PAGE: Final = 1000


def pause_run(run: int, server: Link | None, key: str | None, as_json: bool) -> None:
    """Let a run give out no more work for now; `dsage pause ID` of the client's commands comes here."""
    view = _done(run, server, key, lambda api: api.pause(run))
    _told(view, as_json, f"run {run} is {view.state}; `dsage resume {run}` lets it go on")


def resume_run(run: int, server: Link | None, key: str | None, as_json: bool) -> None:
    """Let a paused run go on; `dsage resume ID` comes here."""
    view = _done(run, server, key, lambda api: api.resume(run))
    _told(view, as_json, f"run {run} is {view.state}; `dsage watch {run}` shows it")


@click.command(short_help="End a run for good, without an answer.")
@run_argument
@yes_option
@server_option
@key_option
@json_option
def cancel(run: int, yes: bool, server: Link | None, key: str | None, as_json: bool) -> None:
    """End a run for good, without an answer.

    Units that are under way are stopped on volunteers' computers; credit for what is done stays.
    """

    async def act(api: Researcher) -> None:
        view = await api.run(run)
        if view.state not in OPEN_RUNS:
            raise Conflict(f"run {run} is {view.state} already", hint=f"`dsage show {run}` says more.")
        unfinished = sum(view.units.get(state, 0) for state in ("ready", "active", "comparing"))
        sure(f"run {run} ({shown(view.title, 40)}) ends for good, with {count(unfinished, 'unfinished unit')}", yes)
        await api.cancel(run)

    view = _done(run, server, key, act)
    _told(view, as_json, f"run {run} is {view.state}; `dsage results {run} --partial` has the answers of its units")


@click.command(short_help="Try failed units of a run again.")
@run_argument
@click.option("--unit", "units", type=click.IntRange(1), multiple=True, metavar="N", help="Only this one; repeatable.")
@click.option(
    "--only",
    type=click.Choice(["failed", "timeout"]),
    default="failed",
    show_default=True,
    help="All that failed, or only those that ran out of time.",
)
@server_option
@key_option
@json_option
def retry(run: int, units: tuple[int, ...], only: str, server: Link | None, key: str | None, as_json: bool) -> None:
    """Try failed units of a run again.

    A run that failed goes on: `dsage attach ID` drives it. The attempts so far are kept (`dsage logs ID --unit N`).
    """
    tried: list[int] = []

    async def act(api: Researcher) -> None:
        found = [unit for unit in await failed_units(api, run) if not units or unit.unit in units]
        lost = set(units) - {unit.unit for unit in found}
        if lost:
            raise NotFound(
                f"run {run} has no failed unit {', '.join(map(str, sorted(lost)))}",
                hint=f"`dsage show {run}` lists those that failed.",
            )
        chosen = [unit.unit for unit in found if only == "failed" or unit.code in TIMEOUTS]
        whole = not units and only == "failed" and (await api.run(run)).state == RunState.FAILED
        if not chosen and not whole:
            raise NotFound(f"run {run} has no such failed units", hint=f"`dsage show {run}` lists those that failed.")
        await api.retry(run, chosen if units or only == "timeout" else ())
        tried.extend(chosen)

    view = _done(run, server, key, act)
    _told(view, as_json, f"{count(len(tried), 'unit')} of run {run} tried again; `dsage attach {run}` drives it")


@click.command(short_help="Let the server drive a run.")
@run_argument
@server_option
@key_option
@json_option
def host(run: int, server: Link | None, key: str | None, as_json: bool) -> None:
    """Let the server drive a run.

    This computer can be switched off then. The code is stepped in the server's sandbox; any other driver is shut out.
    """
    view = _done(run, server, key, lambda api: api.host(run))
    _told(
        view, as_json, f"the server drives run {run}; `dsage watch {run}` shows it, `dsage attach {run}` takes it back"
    )


@click.command(short_help="Refuse accepted answers: their units are computed again.")
@run_argument
@click.option("--unit", "units", type=click.IntRange(1), multiple=True, required=True, metavar="N", help="Repeatable.")
@yes_option
@server_option
@key_option
@json_option
def reopen(run: int, units: tuple[int, ...], yes: bool, server: Link | None, key: str | None, as_json: bool) -> None:
    """Refuse accepted answers: their units are computed again.

    Other volunteers are asked. A run that had folded an answer takes it back, by its own `retract` or by going back to
    a state from before; one that had finished goes on and corrects its result.
    """

    async def act(api: Researcher) -> None:
        sure(
            f"the accepted {'answer' if len(units) == 1 else 'answers'} of {count(len(units), 'unit')} are refused", yes
        )
        await api.reopen(run, units)

    view = _done(run, server, key, act)
    _told(
        view, as_json, f"{count(len(units), 'unit')} of run {run} are computed again; `dsage attach {run}` drives it on"
    )


@click.command(short_help="Free what an ended run keeps on the server.")
@run_argument
@yes_option
@server_option
@key_option
@json_option
def retire(run: int, yes: bool, server: Link | None, key: str | None, as_json: bool) -> None:
    """Free what an ended run keeps on the server.

    Its units, their answers and files go; the run's own answer, its figures and everybody's credit stay. Take what
    you need first: `dsage results ID --format jsonl -o FILE`.
    """

    async def act(api: Researcher) -> None:
        view = await api.run(run)
        if view.state in OPEN_RUNS:
            raise Conflict(f"run {run} has not ended", hint=f"`dsage cancel {run}` ends it.")
        units = sum(view.units.values())
        sure(f"{count(units, 'unit')} of run {run} ({shown(view.title, 40)}) and their answers are removed", yes)
        await api.retire(run)

    view = _done(run, server, key, act)
    _told(view, as_json, f"run {run} is retired; its answer stays: `dsage results {run}`")


async def failed_units(api: Researcher, run: int, most: int | None = None) -> list[UnitView]:
    """Return the units of a run that failed, or the first `most` of them. Needs the owner's key."""
    found: list[UnitView] = []
    after = 0
    while most is None or len(found) < most:
        page = await api.units(run, after=after, state=UnitState.FAILED, limit=PAGE if most is None else most)
        found += page.units
        if not page.more or not page.units:
            break
        after = page.units[-1].unit
    return found


def _done(run: int, server: Link | None, key: str | None, act: Callable[[Researcher], Awaitable[None]]) -> RunView:
    """Do it and return the run as it is then."""

    async def go() -> RunView:
        async with await Researcher.open(Home(), server, key) as api:
            await act(api)
            return await api.run(run)

    return asyncio.run(go())


def _told(view: RunView, as_json: bool, sentence: str) -> None:
    emit(SCHEMA, document(view), as_json)
    say(sentence)
