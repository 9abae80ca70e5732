"""A run as people see it in a terminal: a live view where there is one, a plain line every ten seconds elsewhere.

`facts` reads a RunView; `plain` and `drawn` show the facts; `Screen` shows them again and again. All of it goes to
standard error, so that a command's answer stays alone on standard output. Rich is imported when it first draws.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from dsage import codec
from dsage.cli.output import say
from dsage.cli.values import shown
from dsage.errors import CodecError
from dsage.states import OPEN_RUNS, RunState, UnitState
from dsage.wire import Event, RunView

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

PLAIN_EVERY_S: Final = 10.0
MAX_PROGRESS_BYTES: Final = 64 << 10
MAX_FIELDS: Final = 12
MAX_FIELD: Final = 200
"""Characters of an extra field that are shown: a factor of some 200 digits still fits."""
EVENTS_SHOWN: Final = 5
MAX_SUMMARY: Final = 300
MAX_REASON: Final = 500
MIN_FRACTION: Final = 0.02
"""Below it, an estimate of the time left would be a guess."""
KNOWN: Final = frozenset({"phase", "fraction", "eta_s", "summary"})
"""What every view understands of a run's progress. An `eta_s` of None forbids to guess it from the fraction. A summary
stands for all the rest; without one, plain text and numbers are shown, and what has parts is left to programs."""
COLOURS: Final = {
    UnitState.READY: "default",
    UnitState.ACTIVE: "yellow",
    UnitState.COMPARING: "cyan",
    UnitState.VALID: "green",
    UnitState.FAILED: "red",
    UnitState.CANCELLED: "bright_black",
}
STATE_COLOURS: Final[dict[str, str]] = {
    RunState.PAUSED: "yellow",
    RunState.DONE: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "bright_black",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say of a run. `fraction` (0..1) and `eta_s` (seconds) are None when unknown."""

    name: str
    state: str
    phase: str
    fraction: float | None
    eta_s: float | None
    elapsed_s: float
    units: dict[str, int]
    volunteers: int
    credit: float
    summary: str
    extra: dict[str, str]
    terms: str
    note: str


def facts(view: RunView, now: float) -> Facts:
    """Return what to say of `view` at `now` (Unix seconds). What the run says of itself is not believed blindly."""
    told = progress_of(view)
    elapsed_s = max(0.0, (view.finished or now) - view.created)
    fraction = _between(told.get("fraction"), 1.0)
    eta_s = _between(told.get("eta_s"), 1e9)
    if "eta_s" not in told and fraction is not None and fraction >= MIN_FRACTION:
        eta_s = elapsed_s / fraction * (1.0 - fraction)
    extra = {
        shown(name, 40): shown(value, MAX_FIELD)
        for name, value in list(told.items())[: MAX_FIELDS + len(KNOWN)]
        if name not in KNOWN and isinstance(value, str | int | float)
    }
    summary = told.get("summary")
    running = view.state == RunState.RUNNING
    return Facts(
        name=f"{shown(view.title, 60)} · run {view.run}",
        state=view.state,
        phase=shown(told.get("phase", ""), 60) if running else view.state,
        fraction=fraction,
        eta_s=eta_s if running else None,
        elapsed_s=elapsed_s,
        units={state.value: view.units.get(state, 0) for state in UnitState},
        volunteers=view.volunteers,
        credit=view.credit_milli / 1000,
        summary=shown(summary, MAX_SUMMARY) if isinstance(summary, str) else "",
        extra={} if isinstance(summary, str) else extra,
        terms=terms(view),
        note=shown(view.reason, MAX_REASON),
    )


def terms(view: RunView) -> str:
    """Return what the run asked of the scheduler, in words; empty if nothing."""
    said = [
        f"priority {view.priority}" if view.priority else "",
        "only on " + " or ".join(view.platforms) if view.platforms else "",
        "only on computers marked " + ", ".join(view.tags) if view.tags else "",
    ]
    return shown("; ".join(filter(None, said)), MAX_FIELD)


def progress_of(view: RunView) -> dict[str, Any]:
    """Return what the run says of itself; an empty dict if that cannot be read."""
    try:
        told = codec.decode(view.progress, max_bytes=MAX_PROGRESS_BYTES) if view.progress else {}
    except CodecError:
        return {}
    return told if isinstance(told, dict) else {}


def plain(view: RunView, now: float) -> str:
    """Return the run as one line."""
    seen = facts(view, now)
    counts = ", ".join(f"{count} {state}" for state, count in seen.units.items() if count)
    parts = [
        seen.name,
        seen.phase or seen.state,
        "" if seen.fraction is None else f"{seen.fraction:.0%}",
        "units: " + (counts or "none yet"),
        seen.summary,
        *(f"{name} {value}" for name, value in seen.extra.items()),
        "" if not seen.volunteers else f"{seen.volunteers} volunteer{'' if seen.volunteers == 1 else 's'}",
        seen.terms,
        duration(seen.elapsed_s),
        "" if seen.eta_s is None else f"about {duration(seen.eta_s)} left",
        seen.note,
    ]
    return " · ".join(part for part in parts if part)


def drawn(view: RunView, events: Sequence[Event], now: float, footer: str = "") -> RenderableType:
    """Return the run, and the last of `events`, as something for Rich to draw."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    seen = facts(view, now)
    head = Text.assemble((seen.name, "bold"), "  ", (seen.phase or seen.state, STATE_COLOURS.get(view.state, "cyan")))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bright_black", no_wrap=True)
    rows.add_column(overflow="fold")
    if seen.fraction is not None:
        bar = Table.grid(padding=(0, 2))
        left = "" if seen.eta_s is None else f"about {duration(seen.eta_s)} left"
        bar.add_row(ProgressBar(1.0, seen.fraction, width=30), Text(f"{seen.fraction:.0%}"), Text(left))
        rows.add_row("progress", bar)
    counts = Text("  ").join(
        Text(f"{seen.units[state]} {state}", COLOURS[state] if seen.units[state] else "bright_black")
        for state in UnitState
    )
    rows.add_row("units", counts)
    if seen.summary:
        rows.add_row("so far" if view.state in OPEN_RUNS else "in all", Text(seen.summary))
    for name, value in seen.extra.items():
        rows.add_row(Text(name), Text(value))
    if seen.terms:
        rows.add_row("asks for", Text(seen.terms))
    if seen.volunteers:
        rows.add_row("volunteers", Text(str(seen.volunteers)))
        rows.add_row("credit", Text(f"{seen.credit:.1f} reference minutes"))
    rows.add_row("time", Text(duration(seen.elapsed_s)))
    for event in events[-EVENTS_SHOWN:]:
        rows.add_row(
            Text(f"{datetime.fromtimestamp(event.at).astimezone():%H:%M:%S}"), Text(shown(event.text, MAX_FIELD))
        )
    tail = [Text(line, "yellow") for line in (seen.note,) if line]
    tail += [Text(line, "bright_black") for line in (footer,) if line and view.state in OPEN_RUNS]
    return Group(head, rows, *tail)


def duration(seconds: float) -> str:
    """Return a length of time in the two units that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole < 600 and whole % 60 else "")
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


class Screen:
    """Shows one run as it goes on, on standard error: live on a terminal, else a line every ten seconds."""

    def __init__(self, footer: str = "", *, live: bool | None = None, clock: Callable[[], float] = time.time) -> None:
        self._footer = footer
        self._clock = clock
        self._wanted = can_draw() if live is None else live
        self._live: Live | None = None
        self._last_line = -PLAIN_EVERY_S
        self._state = ""

    def __enter__(self) -> Self:
        if self._wanted:
            from rich.live import Live

            self._live = Live(console=_console(), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, view: RunView, events: Sequence[Event] = ()) -> None:
        """Show the run as it stands. Off a terminal, a line at most every ten seconds or when its state changes."""
        now = self._clock()
        if self._live is not None:
            self._live.update(drawn(view, events, now, self._footer), refresh=True)
        elif now - self._last_line >= PLAIN_EVERY_S or view.state != self._state:
            self._last_line, self._state = now, view.state
            say(plain(view, now))

    def say(self, line: str) -> None:
        """Tell something in passing."""
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text(line))
        else:
            say(line)


def can_draw() -> bool:
    """Say whether standard error is a terminal that can redraw."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _between(value: Any, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return float(value)
