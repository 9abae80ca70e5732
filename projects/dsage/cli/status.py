"""A server and its runs at a glance, for `dsage status`."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from dsage.cli.following import document
from dsage.cli.output import emit, table
from dsage.cli.terminal import facts
from dsage.cli.values import shown
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.states import UnitState
from dsage.trust.invite import Link
from dsage.wire import RunView, StatusView

SCHEMA: Final = "dsage.status/1"


def glance_at(server: Link | None, as_json: bool) -> None:
    """Show a server and its runs: the one that `dsage login` remembers, or another. Needs no key."""

    async def fetch() -> StatusView:
        async with await Researcher.open(Home(), server) as api:
            return await api.status()

    view = asyncio.run(fetch())
    emit(SCHEMA, _document(view), as_json, glance(view, time.time()))


def glance(view: StatusView, now: float) -> str:
    """Return the status as text."""
    lines = [
        f"server {shown(view.name, 60)}, version {shown(view.version, 20)}",
        f"volunteers: {view.volunteers}, computers here now: {view.hosts_live}",
        f"units: {_counts(view.units)}",
    ]
    if view.trouble:
        lines.append(f"in trouble: {shown(view.trouble, 200)}; no work is handed out")
    if view.runs:
        headings = ["run", "title", "state", "done", "units valid", "open", "phase", "asks for"]
        rows = [_row(run, now) for run in view.runs]
        columns = len(headings) if any(row[-1] for row in rows) else len(headings) - 1
        lines += ["", table(headings[:columns], [row[:columns] for row in rows])]
    else:
        lines += ["", "no runs yet: `dsage submit factor -p n=11^150+1` starts one"]
    return "\n".join(lines)


def _counts(units: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in units.items() if count) or "none yet"


def _row(run: RunView, now: float) -> list[str]:
    seen = facts(run, now)
    unfinished = sum(seen.units[state] for state in (UnitState.READY, UnitState.ACTIVE, UnitState.COMPARING))
    fraction = "" if seen.fraction is None else f"{seen.fraction:.0%}"
    phase = seen.phase if seen.phase != seen.state else ""
    title = shown(run.title, 40)
    valid = str(seen.units[UnitState.VALID])
    return [str(run.run), title, run.state, fraction, valid, str(unfinished), phase, seen.terms]


def _document(view: StatusView) -> dict[str, Any]:
    return {
        "server": view.server_id,
        "name": view.name,
        "version": view.version,
        "time": view.time,
        "volunteers": view.volunteers,
        "hosts_live": view.hosts_live,
        "units": view.units,
        "replicas": view.replicas,
        "trouble": view.trouble,
        "runs": [document(run) for run in view.runs],
    }
