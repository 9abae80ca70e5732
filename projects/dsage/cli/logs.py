"""`dsage logs`: what happened to a run, and what the copies of its units printed."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final

import click

from dsage.cli.options import json_option, jsonl_option, key_option, run_argument, server_option
from dsage.cli.output import emit, line, say
from dsage.cli.terminal import duration
from dsage.cli.values import shown
from dsage.errors import Busy, NotFound, ServerAway
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.states import MEANING, OPEN_RUNS
from dsage.trust.invite import Link
from dsage.wire import Attempt, Event

SCHEMA: Final = "dsage.logs/1"
WAIT_S: Final = 20.0
"""How long one question for news is held by the server."""
AGAIN_S: Final = 5.0
LINE: Final = 2000
INTERRUPTED: Final = 130


@click.command(short_help="Show what happened to a run, and what its units printed.")
@run_argument
@click.option("--unit", type=click.IntRange(1), metavar="N", help="The copies of this unit, with what they printed.")
@click.option("--copies", is_flag=True, help="The newest copies of all units, those that failed first.")
@click.option("-f", "--follow", is_flag=True, help="Go on with news until the run ends.")
@server_option
@key_option
@json_option
@jsonl_option
def logs(
    run: int,
    unit: int | None,
    copies: bool,
    follow: bool,
    server: Link | None,
    key: str | None,
    as_json: bool,
    as_lines: bool,
) -> int:
    """Show what happened to a run, and what its units printed.

    Without an option, the events of the run; those of single units are told to researchers of its project. What units
    printed, and the tracebacks of those that failed, are for the run's owner. A unit's number is its id
    (`dsage results ID --format csv`).
    """
    try:
        return asyncio.run(_logs(run, unit, copies, follow, server, key, as_json, as_lines))
    except KeyboardInterrupt:
        say(f"stopped looking; run {run} goes on")
        return INTERRUPTED


async def _logs(
    run: int, unit: int | None, copies: bool, follow: bool, server: Link | None, key: str | None,
    as_json: bool, as_lines: bool,
) -> int:  # fmt: skip
    async with await Researcher.open(Home(), server, key) as api:
        await api.run(run)
        if unit is None and not copies:
            events = await api.events(run)
            _emit([_event(each) for each in events], as_json, as_lines, "\n".join(map(_event_line, events)))
            if follow:
                await _follow_events(api, run, events, as_lines or as_json)
            elif not events:
                say(f"nothing has happened to run {run} yet; --follow waits for it")
            return 0
        attempts = await api.attempts(run, unit=unit or 0)
        if unit is not None and not attempts and not follow:
            raise NotFound(f"no copy of a unit {unit} of run {run} was ever sent out")
        _emit([_attempt(each) for each in attempts], as_json, as_lines, "\n\n".join(map(_attempt_text, attempts)))
        if follow:
            await _follow_attempts(api, run, unit or 0, attempts, as_lines or as_json)
        return 0


async def _follow_events(api: Researcher, run: int, seen: list[Event], as_lines: bool) -> None:
    after = seen[-1].id if seen else 0
    while True:
        over = (await _patiently(api, run)) not in OPEN_RUNS
        try:
            news = await api.events(run, after=after, wait_s=0.0 if over else WAIT_S)
        except (ServerAway, Busy):
            news = []
        for each in news:
            after = each.id
            line(_event(each)) if as_lines else click.echo(_event_line(each))
        if over and not news:
            return


async def _follow_attempts(api: Researcher, run: int, unit: int, first: list[Attempt], as_lines: bool) -> None:
    """Show copies again whenever they have changed, until the run ends."""
    known = {each.replica: each for each in first}
    while True:
        over = (await _patiently(api, run)) not in OPEN_RUNS
        await asyncio.sleep(0.0 if over else AGAIN_S)
        for each in await api.attempts(run, unit=unit):
            if known.get(each.replica) != each:
                known[each.replica] = each
                line(_attempt(each)) if as_lines else click.echo(f"\n{_attempt_text(each)}")
        if over:
            return


async def _patiently(api: Researcher, run: int) -> str:
    while True:
        try:
            return (await api.run(run)).state
        except (ServerAway, Busy) as error:
            say(f"{error.message}; looking again in {AGAIN_S:g} s")
            await asyncio.sleep(AGAIN_S)


def _emit(data: list[dict[str, Any]], as_json: bool, as_lines: bool, text: str) -> None:
    if as_lines:
        for each in data:
            line(each)
    else:
        emit(SCHEMA, data, as_json, text)


def _event(event: Event) -> dict[str, Any]:
    return {"id": event.id, "at": event.at, "kind": event.kind, "text": event.text, "unit": event.unit}


def _event_line(event: Event) -> str:
    return f"{_clock(event.at)}  {shown(event.text, LINE)}"


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "unit": attempt.unit,
        "copy": attempt.replica,
        "state": attempt.state,
        "started": attempt.started,
        "ended": attempt.ended,
        "reason": attempt.reason,
        "detail": attempt.detail,
        "output": attempt.output.decode("utf-8", "replace"),
        "cpu_s": attempt.cpu_s,
        "wall_s": attempt.wall_s,
        "platform": attempt.platform,
    }


def _attempt_text(attempt: Attempt) -> str:
    """Return one copy: a line that says how it went, then what it printed, then why it failed."""
    ended = "" if attempt.ended is None else f", {duration(attempt.cpu_s)} of processor time"
    meaning = MEANING.get(attempt.state, "")
    head = f"unit {attempt.unit}, copy {attempt.replica}, {_clock(attempt.started)}: {attempt.state}"
    head += f" ({attempt.reason})" if attempt.reason else f" ({meaning})" if meaning else ""
    head += f", on {attempt.platform}" if attempt.platform else ""
    parts = [head + ended, *_indented(attempt.output.decode("utf-8", "replace"))]
    if attempt.detail:
        parts += ["  it failed with:", *_indented(attempt.detail)]
    return "\n".join(parts)


def _indented(text: str) -> list[str]:
    return [f"  | {shown(each, LINE)}" for each in text.splitlines()]


def _clock(when: float) -> str:
    return f"{datetime.fromtimestamp(when).astimezone():%Y-%m-%d %H:%M:%S}"
