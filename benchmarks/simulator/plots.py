"""Pictures of what the worlds say, as SVG that is legible on light and on dark pages; nothing but text is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from simulator.report import cost_at, select, sum_up
from simulator.scenarios import CHECKED, EVERY, LEARN, RATES, SHARED, SHARES, WORLDS, Outcome
from simulator.tally import MARKS

WIDTH: Final = 720
LEFT: Final = 150
RIGHT: Final = 44
TOP: Final = 56
COLOURS: Final = {
    "DSage": "a", "BOINC": "b", "quorum 2": "c", "quorum 3": "d", "no checking": "e", "taken": "f",
    "turned": "d", CHECKED: "f",
}  # fmt: skip
STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-size: 15px; font-weight: 600 }
  .line { fill: none; stroke-width: 2 } .grid { stroke: #8c959f; stroke-opacity: .3 } .axis { stroke: #8c959f }
  .a { --c: #0969da } .b { --c: #bc4c00 } .c { --c: #1a7f37 }
  .d { --c: #8250df } .e { --c: #6e7781 } .f { --c: #54aeff }
  .line, .bar { stroke: var(--c) } .dot { fill: var(--c) } .bar { stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 }
    .a { --c: #58a6ff } .b { --c: #f0883e } .c { --c: #3fb950 } .d { --c: #bc8cff } .f { --c: #a5d6ff } }
"""
FLOOR: Final = 0.5
"""Where nothing was wrong stands on an axis of powers of ten, per million."""

Point = tuple[float, float]
Scale = Callable[[float], float]


def draw(found: Sequence[Outcome], folder: Path) -> None:
    """Write the four pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trust-worlds.svg").write_text(worlds(found))
    (folder / "trust-cost.svg").write_text(cost(found))
    (folder / "trust-colluders.svg").write_text(colluders(found))
    (folder / "trust-rates.svg").write_text(rates(found))


def worlds(found: Sequence[Outcome]) -> str:
    """Wrong results in the end in each world, with 95 % intervals."""
    names = [world for world in WORLDS if world != "honest"]
    bottom = TOP + 34 * len(names)
    across = _powers(FLOOR, 1e6, LEFT, WIDTH - RIGHT)
    parts = [_text(LEFT, bottom + 38, "wrong results per million in the end (1,000 units per host; quorum 2: 100)")]
    parts += _ticks_across(across, bottom, [(0.5, "none seen")] + [(10.0**n, _short(10.0**n)) for n in range(1, 7)])
    for row, world in enumerate(names):
        y = TOP + 34 * row + 17
        parts.append(_text(LEFT - 10, y + 4, world, anchor="end"))
        for at, (part, rule) in enumerate((("long", "DSage"), ("long", "BOINC"), ("short", "quorum 2"))):
            s, place = sum_up(select(found, part, world, rule)), y + 8 * (at - 1)
            low, high = across(max(FLOOR, s.low)), across(max(FLOOR, s.high))
            colour = COLOURS[rule]
            parts.append(f'<line class="bar {colour}" x1="{low:.1f}" x2="{high:.1f}" y1="{place}" y2="{place}"/>')
            parts.append(f'<circle class="dot {colour}" cx="{across(max(FLOOR, s.end)):.1f}" cy="{place}" r="4"/>')
    return _page("What is wrong in the end, and how sure that is", parts, ("DSage", "BOINC", "quorum 2"), bottom + 56)


def cost(found: Sequence[Outcome]) -> str:
    """Copies per accepted result as hosts become known, in the honest world."""
    bottom = 320
    across, up = _powers(10, 1000, LEFT, WIDTH - RIGHT), _even(1.0, 2.1, bottom, TOP)
    parts = [_text(LEFT, bottom + 38, "accepted results per host, everybody honest and new at the beginning")]
    parts += _ticks_across(across, bottom, [(n, _short(n)) for n in (10, 20, 50, 100, 200, 500, 1000)])
    parts += _ticks_up(up, [(1 + n / 10, f"{1 + n / 10:.1f} copies") for n in range(0, 12, 2)])
    for part, rule in (("long", "DSage"), ("long", "BOINC"), ("short", "quorum 2")):
        chosen = select(found, part, "honest", rule)
        points = [(float(n), cost_at(chosen, n)) for n in MARKS if n >= 10 and cost_at(chosen, n)]
        parts += _curve([(across(x), up(min(y, 2.1))) for x, y in points], rule)
    return _page("Copies computed for one accepted result", parts, ("DSage", "BOINC", "quorum 2"), bottom + 56)


def colluders(found: Sequence[Outcome]) -> str:
    """Wrong results in the end by the share of hosts that tell the same lie, always or from some day on."""
    bottom = 340
    across, up = _even(0.0, 0.5, LEFT, WIDTH - RIGHT), _powers(FLOOR, 1e6, bottom, TOP)
    parts = [
        _text(
            LEFT, bottom + 38, "share of hosts that tell the same lie: from the beginning, or once they are established"
        )
    ]
    parts += _ticks_across(across, bottom, [(share, f"{share:.0%}") for share in SHARES])
    parts += _per_million(up)
    for rule in SHARED["colluders"]:
        ends = [sum_up(select(found, "share", "colluders", rule, share)).end for share in SHARES]
        parts += _curve([(across(x), up(max(FLOOR, y))) for x, y in zip(SHARES, ends, strict=True)], rule)
    ends = [sum_up(select(found, "turn", "colluders", "DSage", share)).end for share in SHARES]
    parts += _curve([(across(x), up(max(FLOOR, y))) for x, y in zip(SHARES, ends, strict=True)], "turned")
    return _page("How many may collude", parts, ("DSage", "turned", CHECKED, "BOINC", "quorum 2"), bottom + 56)


def rates(found: Sequence[Outcome]) -> str:
    """Wrong results by how often one lies who is trusted: when they are accepted, and in the end."""
    bottom = 340
    across, up = _powers(RATES[0], 1.0, LEFT, WIDTH - RIGHT), _powers(FLOOR, 1e6, bottom, TOP)
    parts = [_text(LEFT, bottom + 38, "how often 10 % of the hosts lie, once their word alone is taken")]
    parts += _ticks_across(across, bottom, [(rate, f"{rate:.1%}" if rate < 0.01 else f"{rate:.0%}") for rate in RATES])
    parts += _per_million(up)
    for rule in LEARN:
        sums = [sum_up(select(found, "rate", "sleepers", rule, rate)) for rate in RATES]
        ends = [(across(x), up(max(FLOOR, s.end))) for x, s in zip(RATES, sums, strict=True)]
        parts += _curve(ends, rule)
        if rule == "DSage":
            taken = [(across(x), up(max(FLOOR, s.at_acceptance))) for x, s in zip(RATES, sums, strict=True)]
            parts += _curve(taken, "taken")
    return _page("Rare lies are seen least", parts, ("DSage", "BOINC", "taken"), bottom + 56)


# -- pieces ----------------------------------------------------------------------------------------------------------


def _page(title: str, parts: Sequence[str], legend: Sequence[str], height: int) -> str:
    words = {
        "BOINC": "BOINC's rule",
        "taken": "DSage, when accepted",
        "turned": "they turn later",
        CHECKED: "server checks 0.5 %",
        **{q: q for q in EVERY if q != "BOINC"},
    }
    head = [_text(12, 22, title, style="title")]
    x = 12.0
    for name in legend:
        head.append(f'<circle class="dot {COLOURS[name]}" cx="{x}" cy="40" r="4"/>' + _text(x + 10, 44, words[name]))
        x += 32 + 7 * len(words[name])
    body = "\n".join([*head, *parts])
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{title}">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _text(x: float, y: float, words: str, *, anchor: str = "start", style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _even(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _powers(low: float, high: float, start: float, end: float) -> Scale:
    even = _even(math.log10(low), math.log10(high), start, end)
    return lambda value: even(math.log10(value))


def _short(value: float) -> str:
    return f"{value:,.0f}"


def _ticks_across(across: Scale, bottom: float, ticks: Sequence[tuple[float, str]]) -> list[str]:
    return [
        f'<line class="grid" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" y2="{bottom}"/>'
        + _text(across(x), bottom + 18, words, anchor="middle")
        for x, words in ticks
    ]


def _ticks_up(up: Scale, ticks: Sequence[tuple[float, str]]) -> list[str]:
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>'
        + _text(LEFT - 10, up(y) + 4, words, anchor="end")
        for y, words in ticks
    ]


def _per_million(up: Scale) -> list[str]:
    return _ticks_up(up, [(0.5, "no wrong result"), *[(10.0**n, f"{_short(10.0**n)} / million") for n in range(1, 7)]])


def _curve(points: Sequence[Point], name: str) -> list[str]:
    line = " ".join([f"{x:.1f},{y:.1f}" for x, y in points])
    dots = [f'<circle class="dot {COLOURS[name]}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points]
    return [f'<polyline class="line {COLOURS[name]}" points="{line}"/>', *dots]
