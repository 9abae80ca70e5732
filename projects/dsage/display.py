"""A run and a Grid in words and as HTML, for prompts and notebooks. `live` keeps the HTML of a run up to date.

Styles are inline and go by the page's own colours, so that they suit light and dark; there are no scripts. Everything
that comes from a run is text, whatever it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from dsage.cli.terminal import Facts, duration, facts
from dsage.cli.values import shown
from dsage.states import RunState, UnitState
from dsage.wire import RunView

LINE: Final = "rgba(128,128,128,.35)"
FAINT: Final = "rgba(128,128,128,.18)"
GREEN, BLUE, AMBER, RED, GREY, TEAL = "#2f9e58", "#3584e4", "#d9931e", "#e0524d", "#8a8f98", "#1b9aaa"
"""Colours that can be told from white and from black."""
OF_RUN: Final[dict[str, str]] = {
    RunState.RUNNING: BLUE, RunState.PAUSED: AMBER, RunState.DONE: GREEN, RunState.FAILED: RED,
    RunState.CANCELLED: GREY,
}  # fmt: skip
OF_UNIT: Final[dict[str, str]] = {
    UnitState.VALID: GREEN, UnitState.ACTIVE: BLUE, UnitState.COMPARING: TEAL, UnitState.READY: GREY,
    UnitState.FAILED: RED, UnitState.CANCELLED: GREY,
}  # fmt: skip
BOX: Final = (
    f"font:13px/1.6 system-ui,sans-serif;max-width:46em;border:1px solid {LINE};border-radius:8px;"
    "padding:.7em 1em;margin:.3em 0"
)
ROW: Final = "display:flex;flex-wrap:wrap;gap:0 1.2em;align-items:center"
SMALL: Final = "opacity:.75"
MAX_TITLE: Final = 60
NUMBERS: Final = "font-variant-numeric:tabular-nums"


def line(run: int, view: RunView) -> str:
    """Return one line about a run."""
    units = ", ".join(f"{count} {state}" for state, count in view.units.items() if count)
    return f"<Job {run}: {shown(view.title, MAX_TITLE)}, {view.state}{f' ({units})' if units else ''}>"


def html(view: RunView, now: float, url: str = "", trouble: str = "") -> str:
    """Return a run as HTML at `now` (Unix seconds). `trouble` says why this may not be how it stands."""
    seen = facts(view, now)
    lines = [_head(view, seen, url), _bar(view, seen), _counts(view, seen)]
    if seen.summary:
        lines.append(f'<div style="overflow-wrap:anywhere">{escape(seen.summary)}</div>')
    if seen.extra:
        said = " · ".join(f"{name} {value}" for name, value in seen.extra.items())
        lines.append(f'<div style="overflow-wrap:anywhere">{escape(said)}</div>')
    lines += [
        _note(text, colour) for text, colour in ((seen.note, OF_RUN.get(view.state, GREY)), (trouble, AMBER)) if text
    ]
    return f'<div style="{BOX}">{"".join(lines)}</div>'


def grid_line(name: str, about: Mapping[str, str]) -> str:
    """Return one line about a Grid: its place and what is `about` there, as words and values."""
    return f"<Grid: {', '.join([name, *(f'{word} {value}' for word, value in about.items())])}>"


def grid_html(name: str, about: Mapping[str, str]) -> str:
    """Return a Grid as HTML."""
    told = "".join(
        f'<span><span style="{SMALL}">{escape(word)}</span> <span style="{NUMBERS}">{escape(value)}</span></span>'
        for word, value in about.items()
    )
    return f'<div style="{BOX}"><div style="{ROW}"><b>{escape(name)}</b>{told}</div></div>'


def _head(view: RunView, seen: Facts, url: str) -> str:
    colour = OF_RUN.get(view.state, GREY)
    page = (
        f'<a href="{escape(url)}" target="_blank" rel="noopener" style="color:inherit">page</a>'
        if url.startswith(("http://", "https://"))
        else ""
    )
    phase = f'<span style="{SMALL}">{escape(seen.phase)}</span>' if seen.phase not in ("", view.state) else ""
    return (
        f'<div style="{ROW}"><b style="overflow-wrap:anywhere">{escape(seen.name)}</b>'
        f'<span style="color:{colour};font-weight:600">{escape(view.state)}</span>'
        f'{phase}<span style="margin-left:auto">{page}</span></div>'
    )


def _bar(view: RunView, seen: Facts) -> str:
    """Return the progress bar; none if nobody says how far the run is."""
    fraction = 1.0 if view.state == RunState.DONE else seen.fraction
    if fraction is None:
        return ""
    percent = f"{int(fraction * 100)}%"
    return (
        f'<div style="display:flex;gap:.8em;align-items:center"><div role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent[:-1]}" aria-label="progress" style="flex:1;height:8px;'
        f'border-radius:4px;overflow:hidden;background:{FAINT}"><div style="width:{percent};height:100%;'
        f'background:{OF_RUN.get(view.state, GREY)}"></div></div><span style="{NUMBERS};min-width:3em;'
        f'text-align:right">{percent}</span></div>'
    )


def _counts(view: RunView, seen: Facts) -> str:
    counts = "".join(
        f'<span><span style="color:{colour}" aria-hidden="true">●</span> {seen.units[state]} {escape(state)}</span>'
        for state, colour in OF_UNIT.items()
        if seen.units[state]
    )
    times = [f"{duration(seen.elapsed_s)}{'' if view.finished else ' so far'}"]
    if view.state == RunState.RUNNING:
        times.append("time left unknown" if seen.eta_s is None else f"about {duration(seen.eta_s)} left")
    if seen.volunteers:
        times.append(f"{seen.volunteers} volunteer{'' if seen.volunteers == 1 else 's'}")
    return (
        f'<div style="{ROW};{NUMBERS}">{counts or "<span>no units yet</span>"}'
        f'<span style="{SMALL};margin-left:auto">{escape(" · ".join(times))}</span></div>'
    )


def _note(text: str, colour: str) -> str:
    return (
        f'<div style="border-left:3px solid {colour};padding-left:.7em;margin-top:.4em;overflow-wrap:anywhere">'
        f"{escape(text)}</div>"
    )
