"""`dsage ls` and `dsage show`: the runs of a server in a table, and one run with all that is known of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import click

from dsage import codec
from dsage.cli.control import failed_units
from dsage.cli.following import SCHEMA, answer_text, document
from dsage.cli.options import json_option, jsonl_option, key_option, run_argument, server_option
from dsage.cli.output import emit, hanging, line, say, table
from dsage.cli.terminal import duration, facts, terms
from dsage.cli.values import as_json, shown
from dsage.errors import DSageError
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.states import OPEN_RUNS, OPEN_UNITS, RunState, UnitState
from dsage.trust.invite import Link
from dsage.wire import RunView, UnitView

LIST_SCHEMA: Final = "dsage.runs/1"
FAILURES: Final = 5
DRIVEN_S: Final = 120.0
"""A driver that was heard within this time is there: a waiting one calls at least once a minute."""
ANSWER: Final = 200


@click.command(short_help="List runs.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in RunState]),
    help="Only these; repeatable.",
)
@click.option("--mine/--all", "mine", default=False, help="Only runs of your own key, or everybody's (the default).")
@server_option
@key_option
@json_option
@jsonl_option
def ls(
    states: tuple[str, ...], mine: bool, server: Link | None, key: str | None, as_json: bool, as_lines: bool
) -> None:
    """List runs.

    The newest 50 that the server tells of, the newest first. Needs a key only with --mine.
    """

    async def fetch() -> list[RunView]:
        async with await Researcher.open(Home(), server, key) as api:
            name = certified_as(api) if mine else ""
            return [view for view in await api.runs() if not mine or view.researcher == name]

    found = [view for view in asyncio.run(fetch()) if not states or view.state in states]
    found.sort(key=lambda view: view.run, reverse=True)
    if as_lines:
        for view in found:
            line(document(view))
        return
    emit(LIST_SCHEMA, [document(view) for view in found], as_json, _listed(found, time.time()))
    if not found:
        say("no such runs; `dsage submit TARGET` starts one" if states or mine else "no runs yet")


@dataclass(frozen=True, slots=True)
class Shown:
    """A run and what only its owner sees of it; `why_not` says why that is missing."""

    view: RunView
    page: str
    failures: list[UnitView]
    why_not: str


@click.command(short_help="Show all that is known of a run.")
@run_argument
@server_option
@key_option
@json_option
def show(run: int, server: Link | None, key: str | None, as_json: bool) -> None:
    """Show all that is known of a run.

    Failed units are shown to the run's owner.
    """
    seen = asyncio.run(_seen(run, server, key))
    data = document(seen.view) | {
        "page": seen.page,
        "researcher": seen.view.researcher,
        "hosted": seen.view.hosted,
        "driver_seen": seen.view.driver_seen,
        "failures": [_failure(unit) for unit in seen.failures],
    }
    emit(SCHEMA, data, as_json, _told(seen, time.time()))
    if seen.why_not and seen.view.units.get(UnitState.FAILED):
        say(f"which units failed is not shown: {seen.why_not}")


def certified_as(api: Researcher) -> str:
    """Return the name that the server's root key has certified this researcher's key under, empty if it has not."""
    return next((known.name for known in api.chain.root.code_keys if known.key == api.key.public), "")


async def _seen(run: int, server: Link | None, key: str | None) -> Shown:
    async with await Researcher.open(Home(), server, key) as api:
        view = await api.run(run)
        page = f"{(await api.hello()).pages_url.rstrip('/')}/run/{run}"
        failures: list[UnitView] = []
        why_not = ""
        if view.units.get(UnitState.FAILED):
            try:
                failures = (await failed_units(api, run, FAILURES))[:FAILURES]
            except DSageError as error:
                why_not = error.message
        return Shown(view, page, failures, why_not)


def _listed(found: list[RunView], now: float) -> str:
    if not found:
        return ""
    headings = ["id", "title", "state", "done", "units", "failed", "age", "whose"]
    rows = []
    for view in found:
        seen = facts(view, now)
        total = sum(view.units.values())
        over = total - sum(view.units.get(state, 0) for state in OPEN_UNITS)
        rows.append(
            [
                str(view.run),
                shown(view.title, 24),
                view.state,
                "" if seen.fraction is None else f"{seen.fraction:.0%}",
                f"{over}/{total}",
                str(view.units.get(UnitState.FAILED, 0) or ""),
                duration(max(0.0, now - view.created)),
                shown(view.researcher, 16),
            ]
        )
    kept = [i for i in range(len(headings)) if any(row[i] for row in rows)]
    return table([headings[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _told(seen: Shown, now: float) -> str:
    view = seen.view
    known = facts(view, now)
    fields = [
        ("run", f"{view.run}  {shown(view.title, 60)}"),
        ("state", view.state + (f": {known.note}" if known.note else "")),
        ("driver", _driver(view, now)),
        ("progress", _progress(known.phase, known.fraction, known.eta_s)),
        ("so far" if view.state in OPEN_RUNS else "in all", known.summary),
        *((name, value) for name, value in known.extra.items()),
        ("units", ", ".join(f"{number} {state}" for state, number in known.units.items() if number) or "none yet"),
        ("copies", ", ".join(f"{number} {state}" for state, number in view.replicas.items() if number)),
        ("volunteers", f"{view.volunteers}, {known.credit:.1f} credit"),
        ("asked for", terms(view)),
        ("parameters", _params(view)),
        ("project", view.project + (f", by {shown(view.researcher, 40)}" if view.researcher else "")),
        ("app", view.app),
        ("created", _moment(view.created)),
        ("ended", f"{_moment(view.finished)}, after {duration(known.elapsed_s)}" if view.finished else ""),
        ("answer", shown(answer_text(view), ANSWER)),
        ("page", seen.page),
    ]
    kept = [(name, value) for name, value in fields if value]
    width = max(len(name) for name, _ in kept)
    lines = [hanging(f"{name:<{width}}  ", value) for name, value in kept]
    if seen.failures:
        more = view.units.get(UnitState.FAILED, 0) - len(seen.failures)
        lines += ["", "failed units" + (f" (the first {len(seen.failures)}; {more} more)" if more > 0 else "")]
        lines += [hanging(f"  {unit.unit}  {shown(unit.key, 30)}  ", shown(unit.failed, 160)) for unit in seen.failures]
        lines += [f"`dsage logs {view.run} --unit {seen.failures[0].unit}` shows what one printed;"]
        lines += [f"`dsage retry {view.run}` tries them again"]
    return "\n".join(lines)


def _driver(view: RunView, now: float) -> str:
    if view.state not in OPEN_RUNS:
        return ""
    if view.hosted:
        return "the server (hosted)"
    if view.driver_seen is None:
        return f"nobody yet: `dsage attach {view.run}` drives it"
    ago = max(0.0, now - view.driver_seen)
    if ago < DRIVEN_S:
        return f"there is one, heard {duration(ago)} ago"
    return f"nobody for {duration(ago)}: `dsage attach {view.run}` drives it on"


def _progress(phase: str, fraction: float | None, eta_s: float | None) -> str:
    told = [
        phase,
        "" if fraction is None else f"{fraction:.0%}",
        "" if eta_s is None else f"about {duration(eta_s)} left",
    ]
    return ", ".join(filter(None, told))


def _params(view: RunView) -> str:
    told = codec.decode(view.params)
    return ", ".join(f"{name}={shown(value, 60)}" for name, value in told.items()) if isinstance(told, dict) else ""


def _failure(unit: UnitView) -> dict[str, Any]:
    return {
        "unit": unit.unit,
        "key": unit.key,
        "args": as_json(codec.decode(unit.args)),
        "failed": unit.failed,
        "code": unit.code,
        "attempts": unit.attempts,
    }


def _moment(when: float) -> str:
    return f"{datetime.fromtimestamp(when).astimezone():%Y-%m-%d %H:%M:%S %Z}"
