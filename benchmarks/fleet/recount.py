"""The whole ledger counted again from the rows of replicas and units, and what else must hold after any kill.

It shares nothing with the server's own proof (`dsage_server.store.recount`) or with `audit`: rows are read as they are,
and everything is added up here, in Python.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from dsage_server.store.engine import Store

EPOCH: Final = 1_790_000_000
WEEK_S: Final = 7 * 86400
"""The recent average's time zero and half-life, from docs/credit.md."""
PROBATION: Final = 10
"""Checks to pass before a word is taken alone, four times as many after each lie (docs/trust.md)."""
_WAYS: Final = ("grant", "reversal", "manual", "retaken")
"""What may happen to the credit of a copy, in this order: each second one takes away what the one before gave."""
_GIVES: Final = _WAYS[::2]
ANSWERED: Final = ("reported", "valid", "invalid", "redundant")
SHOWN: Final = 5


class Unit(NamedTuple):
    """A row of `unit`."""

    id: int
    run: int
    state: str
    canonical: int | None
    credit_milli: int
    reason: str
    adaptive: bool


class Copy(NamedTuple):
    """A row of `replica`."""

    id: int
    unit: int
    host: int
    volunteer: int
    state: str
    share: float
    partial: bool
    camp: int | None
    proven: bool | None
    said: str | None


class Entry(NamedTuple):
    """A row of `credit_entry`."""

    id: int
    replica: int | None
    volunteer: int
    host: int | None
    run: int | None
    app: str
    kind: str
    amount: int
    granted: float
    reverses: int | None


class Noted(NamedTuple):
    """A line of a client's journal: what the server said it had, of whom, and by its hash what it was."""

    replica: int
    unit: int
    said: str
    lie: bool


@dataclass
class Tables:
    """What a database holds, by id. `sums` are the kept sums by table and key: amount, number of answers, score."""

    units: dict[int, Unit] = field(default_factory=dict)
    copies: dict[int, Copy] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    sums: dict[str, dict[Any, tuple[float, ...]]] = field(default_factory=dict)
    passed: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    """How hosts stand with each app version: checks passed and lies."""
    kept: set[tuple[int, str]] = field(default_factory=set)
    """Of which units which answers are kept, by their hash."""
    disguised: dict[int, int] = field(default_factory=dict)
    """Under which other number a copy of an answered unit went out, to see what its host says."""


_SUMS: Final = {
    "credit_sum": "SELECT volunteer_id, amount_milli, valid, score FROM credit_sum",
    "credit_host": "SELECT host_id, amount_milli, valid, score FROM credit_host",
    "credit_app": "SELECT app, amount_milli, valid, score FROM credit_app",
    "credit_daily": "SELECT d.volunteer_id, d.day, a.app, d.amount_milli, d.valid FROM credit_daily AS d "
    "JOIN credit_app AS a ON a.id = d.app_id",
    "run_credit": "SELECT run_id, volunteer_id, amount_milli, valid FROM run_credit",
}
_KEYS: Final = {"credit_daily": 3, "run_credit": 2}


def tables(where: Path | str) -> Tables:
    """Read a database."""
    store = Store(where)
    try:
        return store.read_now(_tables)
    finally:
        store.close()


def _tables(connection: Connection) -> Tables:
    def rows(query: str) -> Sequence[Any]:
        return connection.exec_driver_sql(query).all()

    found = Tables(
        units={
            row[0]: Unit(*row)
            for row in rows("SELECT id, run_id, state, canonical_id, credit_milli, reason, adaptive FROM unit")
        },
        copies={
            row[0]: Copy(*row)
            for row in rows(
                "SELECT id, unit_id, host_id, volunteer_id, state, share, partial, camp, proven, value_hash "
                "FROM replica"
            )
        },
        entries=[
            Entry(*row)
            for row in rows(
                "SELECT id, replica_id, volunteer_id, host_id, run_id, app, kind, amount_milli, granted, reverses "
                "FROM credit_entry ORDER BY id"
            )
        ],
        kept={
            (row[0], row[1])
            for row in rows("SELECT unit_id, value_hash FROM answer JOIN replica ON replica.id = replica_id")
        },
        disguised=dict([tuple(row) for row in rows("SELECT replica_id, id FROM known WHERE replica_id IS NOT NULL")]),
    )
    for table, query in _SUMS.items():
        n = _KEYS.get(table, 1)
        found.sums[table] = {(row[0] if n == 1 else tuple(row[:n])): tuple(row[n:]) for row in rows(query)}
    for host, passed, lies in rows("SELECT host_id, passed, lies FROM standing"):
        found.passed.setdefault(host, []).append((passed, lies))
    return found


def faults(found: Tables, journal: Iterable[Noted]) -> list[str]:
    """Return what is wrong, one sentence for each kind: nothing, one hopes."""
    return [
        f"{len(wrong)} {what}: {'; '.join(wrong[:SHOWN])}"
        for what, wrong in (
            ("grants or reversals that copies do not warrant", list(_unwarranted(found))),
            (
                "people, computers, apps, days or runs whose credit is not what their copies are worth",
                list(_worth(found)),
            ),
            ("units that have not ended, or ended without a reason", list(_open(found))),
            ("units whose accepted answer is not one", list(_canonical(found))),
            ("acknowledged answers that are lost", list(_lost(found, journal))),
            ("accepted answers that rest on the word of computers which were found lying", list(_on_their_word(found))),
        )
        if wrong
    ]


def caught(found: Tables) -> set[int]:
    """Return the hosts that were found lying and have not made up for it."""
    return {
        host
        for host, apps in found.passed.items()
        if any(lies and passed <= PROBATION * 4 ** min(lies, 4) - 1 for passed, lies in apps)
    }


def supporters(found: Tables) -> dict[int, list[Copy]]:
    """Return by unit the copies whose answer is the accepted one."""
    behind: defaultdict[int, list[Copy]] = defaultdict(list)
    for copy in found.copies.values():
        canonical = found.copies.get(found.units[copy.unit].canonical or 0)
        if canonical is not None and copy.state == "valid" and copy.camp == canonical.camp and not copy.partial:
            behind[copy.unit].append(copy)
    return behind


def _worth_of(found: Tables, copy: Copy) -> int:
    return round(found.units[copy.unit].credit_milli * copy.share)


def _says_what_is_accepted(found: Tables, copy: Copy) -> bool:
    accepted = found.copies.get(found.units[copy.unit].canonical or 0)
    return accepted is not None and accepted.said == copy.said


def _unwarranted(found: Tables) -> Iterator[str]:
    """A copy that is valid has its grant; one that was has its grant and one reversal. If its host was cleared since
    and it says what is accepted, it has got this back; if it got it back and says something else, it has lost it again.
    Others have nothing."""
    of: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in found.entries:
        of[entry.replica or 0].append(entry)
    for number in sorted(of.keys() | found.copies.keys()):
        copy, entries = found.copies.get(number), of[number]
        kinds = Counter(entry.kind for entry in entries)
        if copy is None:
            yield f"entries {[entry.id for entry in entries]} are of no copy"
            continue
        if copy.state == "valid":
            right = kinds == {"grant": 1}
        else:
            fell = kinds in [Counter(_WAYS[:n]) for n in (2, 3, 4)]
            right = not kinds or (copy.state == "invalid" and fell)
            right &= kinds.total() != 3 or _says_what_is_accepted(found, copy)
        for entry in entries:
            sign = 1 if entry.kind in _GIVES else -1
            right &= entry.amount == sign * _worth_of(found, copy)
            right &= (entry.volunteer, entry.host) == (copy.volunteer, copy.host)
            right &= entry.run == found.units[copy.unit].run
        for given, taken in zip(_WAYS[::2], _WAYS[1::2], strict=True):
            of_these = [entry.id for entry in entries if entry.kind == given]
            right &= [entry.reverses for entry in entries if entry.kind == taken] in ([], of_these)
        if not right:
            yield f"copy {number} is {copy.state} and has {dict(kinds)}"


def _worth(found: Tables) -> Iterator[str]:
    """What everybody has by copies that are valid, and by what they got back when they were cleared of a lie (which is
    credit, and no answer found right), is what the ledger says, and what the sums say."""
    amounts: dict[str, Counter[Any]] = {table: Counter() for table in _SUMS}
    numbers: dict[str, Counter[Any]] = {table: Counter() for table in _SUMS}
    scores: dict[str, defaultdict[Any, list[float]]] = {table: defaultdict(list) for table in _SUMS}
    lost = {entry.reverses for entry in found.entries if entry.kind == "retaken"}
    for entry in found.entries:
        copy = found.copies.get(entry.replica or 0)
        if copy is None or entry.kind != ("grant" if copy.state == "valid" else "manual") or entry.id in lost:
            continue
        run, day = found.units[copy.unit].run, int(entry.granted // 86400)
        for table, key in (
            ("credit_sum", copy.volunteer), ("credit_host", copy.host), ("credit_app", entry.app),
            ("credit_daily", (copy.volunteer, day, entry.app)), ("run_credit", (run, copy.volunteer)),
        ):  # fmt: skip
            amounts[table][key] += _worth_of(found, copy)
            numbers[table][key] += entry.kind == "grant"
            scores[table][key].append(_worth_of(found, copy) / 1000 * 2 ** ((entry.granted - EPOCH) / WEEK_S))
    ledger: Counter[int] = Counter()
    for entry in found.entries:
        ledger[entry.volunteer] += entry.amount
    for volunteer in sorted(ledger.keys() | amounts["credit_sum"].keys()):
        if ledger[volunteer] != amounts["credit_sum"][volunteer]:
            earned = amounts["credit_sum"][volunteer]
            yield f"volunteer {volunteer} earned {earned}, the ledger says {ledger[volunteer]}"
    for table, kept in found.sums.items():
        for key in sorted(kept.keys() | amounts[table].keys(), key=str):
            amount, valid, *score = kept.get(key, (0, 0))
            right = (amount, valid) == (amounts[table][key], numbers[table][key])
            # Doubles that were added and taken away in another order; nothing is lost that is not far larger.
            right &= all(
                math.isclose(each, math.fsum(scores[table][key]), rel_tol=1e-6, abs_tol=1e-3) for each in score
            )
            if not right:
                counted = (amounts[table][key], numbers[table][key], math.fsum(scores[table][key]))
                yield f"{table} {key} says {kept.get(key)}, counted again {counted}"


def _open(found: Tables) -> Iterator[str]:
    for unit in found.units.values():
        if unit.state not in ("valid", "cancelled") and not (unit.state == "failed" and unit.reason):
            yield f"unit {unit.id} is {unit.state} ({unit.reason})"


def _canonical(found: Tables) -> Iterator[str]:
    behind = supporters(found)
    for copy in found.copies.values():
        unit = found.units[copy.unit]
        if copy.state == "valid" and not copy.partial and unit.state == "valid" and copy not in behind[unit.id]:
            yield f"unit {unit.id} has another valid answer, copy {copy.id}"
    for unit in found.units.values():
        if (unit.state == "valid") != (unit.canonical is not None):
            yield f"unit {unit.id} is {unit.state} and has the accepted copy {unit.canonical}"
        elif unit.canonical is not None and unit.canonical not in {copy.id for copy in behind[unit.id]}:
            yield f"unit {unit.id} accepts copy {unit.canonical}, which is not a valid one of its own"


def _lost(found: Tables, journal: Iterable[Noted]) -> Iterator[str]:
    for noted in journal:
        copy = found.copies.get(noted.replica)
        number = None if copy is None else found.disguised.get(copy.id, copy.unit)
        if copy is None or copy.state not in ANSWERED or (number, copy.said) != (noted.unit, noted.said):
            yield f"copy {noted.replica} is {copy}"
        elif (copy.unit, noted.said) not in found.kept:
            yield f"the answer of copy {noted.replica} is not kept"


def on_liars(found: Tables, *, adaptive: bool) -> dict[int, list[int]]:
    """Return the hosts behind accepted answers that only hosts stand behind who were found lying, by unit.

    Adaptive units have none. Others may while there are fewer than ten volunteers: then they take their quorum from
    whoever answers, also from those who were found out before (docs/researchers.md).
    """
    liars = caught(found)
    return {
        number: sorted(copy.host for copy in behind)
        for number, behind in supporters(found).items()
        if bool(found.units[number].adaptive) is adaptive
        and all(copy.host in liars and not copy.proven for copy in behind)
    }


def _on_their_word(found: Tables) -> Iterator[str]:
    for number, behind in on_liars(found, adaptive=True).items():
        yield f"unit {number} rests on {behind}"


def wrong(found: Tables, journal: Mapping[int, Noted]) -> list[int]:
    """Return the units whose accepted answer is a lie, by the journal of those who lied."""
    return sorted(
        unit.id
        for unit in found.units.values()
        if unit.canonical is not None and unit.canonical in journal and journal[unit.canonical].lie
    )
