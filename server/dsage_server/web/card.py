"""What a run came to, on a sheet to print: what was asked, what came of it, and how many helped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsage_server.web.certificate import Line, date, sheet, wrapped
from dsage_server.web.public.lines import RunLine

LINES: Final = 14
"""Lines of a summary that find room; longer ones stand whole on the run's page."""
STATES: Final = {
    "done": "It is done.", "failed": "It failed.", "cancelled": "It was cancelled.", "paused": "It goes on.",
    "running": "It goes on.",
}  # fmt: skip


def svg(line: RunLine, server: str, address: str) -> str:
    """Return the card of a run; `address` is where it can be looked at."""
    return sheet(line.title, _lines(line, server, address))


def _lines(line: RunLine, server: str, address: str) -> Iterator[Line]:
    yield "small", f"{server}: run {line.run} of the project {line.project}", 44
    yield from wrapped("title", line.title, 40, 38)
    yield from wrapped("text", line.about, 84, 26)
    yield "text", "", 10
    told = [each for part in line.summary.splitlines() for each in wrapped("code", part, 84, 20)]
    yield from told[:LINES]
    yield "text", "", 18
    valid, people = line.units.get("valid", 0), line.volunteers
    yield "text", f"{valid:,} units of work found right, by {people:,} volunteer{'s' if people != 1 else ''}.", 26
    yield "text", f"{line.credit:,.1f} credits: minutes of work on one core of the reference machine.", 26
    yield "text", STATES.get(line.state, ""), 40
    end = "" if line.finished is None else f", ended on {date(line.finished)}"
    yield "small", f"Submitted on {date(line.created)}{end} (UTC)", 22
    yield from wrapped("small", address, 100, 20)
