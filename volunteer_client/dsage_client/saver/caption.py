"""The words on the picture: what is computed, how far it is, for whom, and what it brought.

They wander over the screen, because what stays in one place burns into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin
from typing import Final

from dsage_client.door.words import Membership, Running, Status
from dsage_client.saver.shapes import Box, Picture, Words
from dsage_client.words import _

LONGEST: Final = 42
"""Characters in a line."""
TURN_S: Final = 30.0
"""How long each of several units is shown."""
STAYS_S: Final = 60.0
"""How long the words of a calm picture stay in one place."""
PAPER, INK, SOFT, GREEN, TRACK = "#0a1013", "#e6efe9", "#93a8a2", "#8fd3a8", "#1a272b"
SMALL: Final = 240
"""A window of fewer pixels in height, such as a preview in a settings dialog, has no words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is shown of a unit and its server, in words; `sentence` is why nothing is computed."""

    title: str = ""
    sentence: str = ""
    percent: str = ""
    fraction: float = 0.0
    facts: str = ""
    credit: str = ""
    person: str = ""


def turn(running: list[Running], seconds: float) -> Running | None:
    """Return the unit whose turn it is to be shown; one that is held is not."""
    units = sorted((unit for unit in running if not unit.held), key=lambda unit: (unit.server, unit.unit))
    return units[int(seconds // TURN_S) % len(units)] if units else None


def shown(status: Status | None, sentence: str, unit: Running | None, *, names: bool = True) -> Shown:
    """Return the words for a status. Without `names`, those of the person and the team stay out."""
    member = _member(status, unit)
    credit = ""
    if member is not None and member.granted is not None:
        credit = _("Credit: {granted}").format(granted=f"{member.granted:,.2f}")
        if member.pending:
            credit += " · " + _("pending: {pending}").format(pending=f"{member.pending:,.2f}")
    who = [member.pseudonym, member.team] if member is not None and names else []
    person = _plain(" · ".join(part for part in who if part))
    if unit is None:
        return Shown(title="DSage", sentence=_plain(sentence, 4 * LONGEST), credit=credit, person=person)
    share = min(max(unit.fraction or 0.0, 0.0), 1.0)
    percent = "" if unit.fraction is None else f"{100 * share:.1f} %"
    project = unit.project if unit.project != unit.title else ""
    place = _plain(" · ".join(part for part in (project, member.name if member else "") if part))
    facts = _facts(unit)
    return Shown(
        title=_plain(unit.title or unit.project), sentence=place, percent=percent, fraction=share, facts=facts,
        credit=credit, person=person,
    )  # fmt: skip


def picture(seen: Shown, width: int, height: int, seconds: float, *, calm: bool) -> Picture:
    """Return the words as shapes. Their names are always the same; where there is nothing to say the text is empty."""
    if height < SMALL:
        return {}
    size = max(12, height // 46)
    wide, tall = min(size * 25, width), size * 11
    left, top = place(width - wide, height - tall, seconds, calm=calm)
    inner, room = left + size, wide - 2 * size
    lines = (_wrapped(seen.sentence) + [""] * 3)[:3]
    # A sentence of more than one line stands where a unit has its bar.
    bar = bool(seen.percent)
    done = round(room * seen.fraction)
    low, thick = (top + round(size * 6.2), max(2, size // 4)) if bar else (-99, 0)
    return {
        "words.paper": Box(left, top, left + wide, top + tall, PAPER),
        "words.title": Words(inner, top + size, seen.title, _fitting(seen.title, size), INK, bold=True),
        "words.line0": Words(inner, top + round(size * 3.0), lines[0], size, SOFT),
        "words.line1": Words(inner, top + round(size * 4.4), seen.facts or lines[1], size, SOFT),
        "words.line2": Words(inner, top + round(size * 5.8), "" if bar else lines[2], size, SOFT),
        "words.track": Box(inner, low, inner + room, low + thick, TRACK),
        "words.bar": Box(inner, low, inner + done, low + thick, GREEN),
        "words.percent": Words(inner, top + round(size * 6.9), seen.percent, size, GREEN, bold=True),
        "words.credit": Words(inner, top + round(size * 8.4), seen.credit, round(size * 0.85), SOFT),
        "words.person": Words(inner, top + round(size * 9.5), seen.person, round(size * 0.85), SOFT),
    }


def place(room_x: int, room_y: int, seconds: float, *, calm: bool) -> tuple[int, int]:
    """Return where the words stand: on a long way round the screen, in calm pictures by a step each minute."""
    at = seconds // STAYS_S * STAYS_S if calm else seconds
    x = 0.5 + 0.46 * cos(0.0173 * at + 2.4)
    y = 0.5 + 0.46 * sin(0.0131 * at + 0.9)
    return round(max(room_x, 0) * x), round(max(room_y, 0) * y)


def _member(status: Status | None, unit: Running | None) -> Membership | None:
    servers = status.servers if status is not None else []
    if unit is not None:
        servers = [member for member in servers if member.server == unit.server]
    return servers[0] if servers else None


def _facts(unit: Running) -> str:
    facts = {name: fact for name, fact in unit.shows.items() if isinstance(fact, int | float)}
    if unit.scene == "curves" and {"curve", "curves"} <= facts.keys():
        text = _("Curve {curve:,} of {curves:,}").format(curve=int(facts["curve"]), curves=int(facts["curves"]))
    elif unit.scene == "tiles" and {"tile", "tiles"} <= facts.keys():
        text = _("Part {tile:,} of {tiles:,}").format(tile=int(facts["tile"]), tiles=int(facts["tiles"]))
    else:
        text = ""
    if unit.scene == "curves" and "b1" in facts:
        text += (" · " if text else "") + _("bound {b1:,}").format(b1=int(facts["b1"]))
    return _plain(text)


def _plain(text: str, most: int = LONGEST) -> str:
    """Return one line of what somebody else wrote: printable, and no longer than there is room."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return clean if len(clean) <= most else clean[: most - 1].rstrip() + "…"


def _fitting(title: str, size: int) -> int:
    """Return how large a title may be written: a long one is smaller, so that it does not leave its paper."""
    return round(size * min(1.35, 36 / max(len(title), 1)))


def _wrapped(text: str) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > LONGEST:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]
