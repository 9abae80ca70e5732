"""The demo while it goes on: a picture that redraws itself on a terminal, a plain line every two seconds elsewhere.

What deserves more than a moment (a factor, a disagreement, a refused lie) is said in a line that stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from dsage.cli.terminal import COLOURS, Screen, duration, facts, progress_of
from dsage.cli.values import decimal
from dsage.states import RunState, UnitState
from dsage.wire import Event, RunView
from dsage_server.demo.prose import width_of, wrapped
from dsage_server.demo.stage import Volunteer

if TYPE_CHECKING:
    from rich.console import RenderableType

EVERY_S: Final = 2.0
FOOTER: Final = "Ctrl-C ends the demo and leaves nothing behind."
COUNTED: Final = (UnitState.READY, UnitState.ACTIVE, UnitState.COMPARING, UnitState.VALID)
RARELY: Final = (UnitState.FAILED, UnitState.CANCELLED)
DRAMAS: Final = frozenset({"disagreement", "refused", "unit-failed"})
DRAMAS_SAID: Final = 6
"""A liar lies in every answer: the first few times are told one by one, the closing words sum up the rest."""


class Showing(Screen):
    """Speaks for the demo, and shows its run. `volunteers` is looked at afresh each time."""

    def __init__(self, volunteers: Sequence[Volunteer], known: Iterable[int]) -> None:
        super().__init__(FOOTER)
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._volunteers = volunteers
        self._told: set[int] = set()
        self._known = set(map(decimal, known))

    def __enter__(self) -> Self:
        if self._wanted:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def say(self, line: str, style: str = "") -> None:
        """Tell something that stays to be read, in one of Rich's styles where there is colour."""
        from rich.text import Text

        self._console.print(Text(wrapped(line, width_of(self._console)), style), soft_wrap=True)

    def show(self, view: RunView, events: Sequence[Event] = ()) -> None:
        """Show the run as it stands."""
        for line in self._found(view):
            self.say(line, "green")
        for line in self._dramas(events):
            self.say(line, "yellow")
        now = self._clock()
        if self._live is not None:
            self._live.update(picture(view, self._volunteers, now, FOOTER), refresh=True)
        elif now - self._last_line >= EVERY_S and view.state == RunState.RUNNING:
            self._last_line = now
            self.say(line_of(view, self._volunteers, now))

    def _found(self, view: RunView) -> list[str]:
        factors = [text for text, _ in progress_of(view).get("factors", [])]
        fresh = [text for text in factors if text not in self._known]
        self._known.update(fresh)
        return [f"Found a prime factor of {len(text)} digits: {text}" for text in fresh]

    def _dramas(self, events: Sequence[Event]) -> list[str]:
        fresh = [event for event in events if event.kind in DRAMAS and event.id not in self._told]
        room = DRAMAS_SAID - len(self._told)
        self._told.update(event.id for event in fresh)
        lines = [event.text[:1].upper() + event.text[1:] + "." for event in fresh[: max(room, 0)]]
        if 0 < room <= len(fresh):
            lines.append("And so on; the end says how often.")
        return lines


def line_of(view: RunView, volunteers: Sequence[Volunteer], now: float) -> str:
    """Return the run as one line."""
    seen, told = facts(view, now), progress_of(view)
    counts = [f"{seen.units[state]} {state}" for state in COUNTED]
    counts += [f"{seen.units[state]} {state}" for state in RARELY if seen.units[state]]
    here = sum(bool(v.pseudonym) for v in volunteers)
    parts = [
        f"{duration(seen.elapsed_s):>5}",
        seen.phase or "algebra and small primes",
        "" if seen.fraction is None else f"{seen.fraction:.0%}",
        f"{told.get('curves_done', 0)} curves done",
        f"units: {', '.join(counts)}",
        f"{here} volunteer{'' if here == 1 else 's'}",
        time_left(told),
        seen.note,
    ]
    return "  ".join(part for part in parts if part)


def picture(view: RunView, volunteers: Sequence[Volunteer], now: float, footer: str = "") -> RenderableType:
    """Return the run and its volunteers as something for Rich to draw."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    seen, told = facts(view, now), progress_of(view)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bright_black", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("phase", Text(seen.phase or "algebra and small primes", "bold cyan"))
    bar = Table.grid(padding=(0, 2))
    left = time_left(told) if view.state == RunState.RUNNING else ""
    bar.add_row(ProgressBar(1.0, seen.fraction or 0.0, width=30), Text(f"{seen.fraction or 0.0:.0%}"), left)
    rows.add_row("progress", bar)
    states = [*COUNTED, *(state for state in RARELY if seen.units[state])]
    rows.add_row(
        "units",
        Text("  ").join(
            Text(f"{seen.units[state]} {state}", COLOURS[state] if seen.units[state] else "bright_black")
            for state in states
        ),
    )
    rows.add_row("curves", Text(_curves(told)))
    people = Table.grid(padding=(0, 2))
    for volunteer in volunteers:
        name = volunteer.pseudonym or volunteer.name
        people.add_row(Text(name + (" (lies)" if volunteer.lies else ""), "magenta"), Text(volunteer.doing))
    rows.add_row("volunteers", people)
    rows.add_row("time", Text(duration(seen.elapsed_s)))
    tail = [Text(line, style) for line, style in ((seen.note, "yellow"), (footer, "bright_black")) if line]
    return Group(Text(""), rows, *tail)


def time_left(told: dict[str, Any]) -> str:
    """Return what can be said of the time left: nobody knows when a curve will be lucky."""
    eta_s = told.get("seconds_left_on_this_level")
    if not isinstance(eta_s, int | float):
        return "time left: not known yet"
    return f"about {duration(eta_s)} more, unless a factor turns up sooner"


def _curves(told: dict[str, Any]) -> str:
    parts = [f"{told.get('curves_done', 0)} done"]
    for composite in told.get("composites", []):
        at = f"{composite['curves_done']} of {composite['curves']} at B1={composite['b1']:,}"
        parts.append(f"{composite['digits']} digits: {'quadratic sieve instead' if composite['sieve'] else at}")
    return "; ".join(parts)
