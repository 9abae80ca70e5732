"""What the server needs of a unit to compute it itself, and what follows from its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, bindparam, select

from dsage.errors import Conflict
from dsage.function import Limits
from dsage.states import UnitState
from dsage_server.scheduling import own
from dsage_server.sentences import news, reasons
from dsage_server.store import ledger, reopening, signed, standings, tallies, units
from dsage_server.store.events import note
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import answer
from dsage_validator import life
from dsage_validator.reputation import Evidence, Kind, supporters

SHARE: Final = 0.005
"""Of the accepted answers of cheap adaptive units, how many the server computes itself, unless told otherwise."""
SETTING: Final = "own_checks"
KEY: Final = "own_key"
"""Under which name the key is remembered that draws which."""
AGREED, REFUTED, RULED, SILENT = "own.agreed", "own.refuted", "own.ruled", "own.silent"
WORDS: Final = {
    AGREED: "accepted answers that it confirmed",
    REFUTED: "accepted answers that it refuted",
    RULED: "disagreements in which it took part",
    SILENT: "units of which it could not say anything",
}
REASON: Final = reasons.REFUTED()
MOST_REFUTED: Final = 3
"""So many refuted answers of a run, if fewer were confirmed, and it is this server that does not fit its app."""
MEMORY_BYTES: Final = 1 << 30
DISK_BYTES: Final = 64 << 20
CPU_S: Final = 240.0
"""Four times what the dearest unit takes on the reference computer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One unit as it stood when it was read: `canonical` if its answer was accepted. `values` are what is to be
    compared, by the copy that stands for it; large ones lie among the `blobs`."""

    unit: int
    run: int
    app: str
    args: bytes
    limits: Limits
    canonical: int | None
    values: dict[int, bytes]
    blobs: dict[int, str]


def share(connection: Connection) -> float:
    """Return which share of the accepted answers the server computes itself."""
    return float(recall(connection, SETTING) or SHARE)


def set_share(connection: Connection, wanted: float) -> None:
    """Set that share (0..1); with 0 the server computes nothing."""
    remember(connection, SETTING, repr(wanted))


def note_waiting(connection: Connection, drawn: Sequence[int]) -> None:
    """Write down which accepted units wait in this process to be computed."""
    remember(connection, _waiting_of(connection), " ".join(map(str, drawn)))


def waited(connection: Connection) -> list[int]:
    """Return which waited in this process when that was last written down; to be called in a change, which knows which
    process this is."""
    return [int(number) for number in (recall(connection, _waiting_of(connection)) or "").split()]


def _waiting_of(connection: Connection) -> str:
    return f"own_waiting.{connection.info['slot']}"


def counted(connection: Connection) -> dict[str, int]:
    """Return how often the server computed a unit itself, by what came of it."""
    found = tallies.of(connection)
    return {what: found.get(what, 0) for what in WORDS}


def question(connection: Connection, number: int) -> Question | None:
    """Return what is to be compared of a unit; None if it was decided, or opened again, in between."""
    book = units.Book.of(connection, [number], lock=False)
    current = book.now.get(number)
    if current is None:
        return None
    if current.state is UnitState.VALID and current.canonical is not None:
        compared = {current.canonical}
    elif own.disputed(current):
        compared = set(own.camps(current).values())
    else:
        return None
    head = book.heads[number]
    rows = connection.execute(_VALUES, {"ids": sorted(compared)}).all()
    return Question(
        unit=number, run=head.run, app=head.app, args=signed.args_of(connection, number),
        limits=Limits(
            cpu_s=CPU_S, wall_s=min(head.wall_s or CPU_S, 2 * CPU_S), memory_bytes=min(head.memory_bytes, MEMORY_BYTES),
            disk_bytes=min(head.disk_bytes, DISK_BYTES), output_bytes=head.output_bytes,
        ),
        canonical=current.canonical, values={row.replica_id: row.value for row in rows},
        blobs={row.replica_id: row.blob for row in rows if row.blob},
    )  # fmt: skip


def fits(connection: Connection, number: int) -> bool:
    """Whether what this server computes of a run may refute others, by how often it did so."""
    found = tallies.of(connection, number)
    refuted = found.get(REFUTED, 0)
    return refuted < MOST_REFUTED or refuted < found.get(AGREED, 0)


def count(connection: Connection, asked: Question, what: str) -> None:
    """Count what came of a unit that the server computed."""
    tallies.add_up(connection, Counter({(asked.run, what): 1}))


def refute(connection: Connection, asked: Question, now: float) -> list[units.Changed]:
    """Refuse the accepted answer: all who stand behind it lied, their credit is reversed, and others are asked."""
    current = units.Book.of(connection, [asked.unit]).now[asked.unit]
    if current.state is not UnitState.VALID or current.canonical != asked.canonical:
        return []
    behind = supporters(current)
    changed: list[units.Changed] = []
    try:
        changed = reopening.reopen(connection, asked.run, [asked.unit], now)
    except Conflict as error:
        text = news.NOT_AGAIN(unit=asked.unit, why=error.message)
        note(connection, now, "own-check", text, run=asked.run)
    standings.note(connection, [(asked.app, Evidence(Kind.LIED, r.id, r.host)) for r in behind], now)
    ledger.reverse(connection, [r.id for r in behind], REASON, "validator", now)
    note(connection, now, "own-check", news.OWN_CHECK(unit=asked.unit), run=asked.run, unit=asked.unit)
    count(connection, asked, REFUTED)
    return changed


def rule(connection: Connection, asked: Question, copy: int, now: float) -> list[units.Changed]:
    """Hear the server in a disagreement, as an established host that says what a copy says."""
    book = units.Book.of(connection, [asked.unit])
    if not own.disputed(book.now[asked.unit]):
        return []
    book.now[asked.unit] = life.ruled(book.now[asked.unit], copy)
    count(connection, asked, RULED)
    return book.write(now)


def filled(asked: Question, values: dict[int, bytes]) -> Question:
    """Return a question with the values of its large answers."""
    return replace(asked, values=asked.values | values)


_VALUES = select(answer.c.replica_id, answer.c.value, answer.c.blob).where(
    answer.c.replica_id.in_(bindparam("ids", expanding=True))
)
