"""The proof that every sum equals the ledger: an independent recount by SQL, which shares no code with the projector.

Each check is one query over one moment of the database: what the sums say, less what the rows say, by key; what is not
zero is wrong. Rows that are not folded yet are in neither. Repairing subtracts the difference, which folding
does not change, so it may be done while the server runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from dsage.errors import Conflict, DSageError
from dsage_server.store.bulk import add_rows
from dsage_server.store.credit import EPOCH, HALF_LIFE_S, MAX_HALF_LIVES, weight
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import metadata

PROVED: Final = "ledger_proved"
"""Where it is remembered which day's proof was begun (days since 1970), by whichever process was first."""
REPAIRED: Final = "ledger_repaired"
"""Where it is remembered how often sums were repaired: two repairs of one difference would make another."""
NOISE: Final = 1e-9
"""The part of a score that may differ: doubles are added in another order."""
SHOWN: Final = 1000
"""Differences of one table that are told at most."""


class LedgerWrong(DSageError):
    """Sums of credit or closed days of the ledger are not what its rows say."""

    code = "ledger"
    exit_status = 5
    default_hint = (
        "`dsage admin credit check --repair` makes the sums what the ledger says; docs/credit.md explains it."
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A sum that is not what its rows are: `more` is what it says beyond them, by column."""

    table: str
    key: dict[str, Any]
    more: dict[str, float]

    def __str__(self) -> str:
        where = ", ".join(f"{name} {value}" for name, value in self.key.items())
        return f"{self.table} ({where}): " + ", ".join(
            f"{name} {more:+.12g}" for name, more in self.more.items() if more
        )


@dataclass(frozen=True, slots=True)
class _Check:
    """One table of sums: `told` and `counted` are queries with the columns `keys` and `values`."""

    table: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    told: str
    counted: str


_MOVED: Final = (
    "SELECT p.public, 0, 0, 0, s.way * (SELECT coalesce(sum(abs(score)), 0) FROM credit_sum) "
    "FROM (SELECT DISTINCT public FROM people_sum) AS p CROSS JOIN (SELECT 1 AS way UNION ALL SELECT -1) AS s"
)
"""Nothing, taken both ways: who goes off the leaderboard moves a score that may dwarf the rest, so what is noise in
either sum of people is measured by the scores of all."""
_VALID: Final = "CASE e.kind WHEN 'grant' THEN 1 WHEN 'reversal' THEN -1 ELSE 0 END"
_LEDGER: Final = "credit_entry AS e LEFT JOIN credit_entry AS g ON g.id = e.reverses"
_FOLDED: Final = "e.id NOT IN (SELECT entry_id FROM credit_unfolded)"
_AT: Final = "coalesce(g.granted, e.granted)"


def differences(connection: Connection) -> list[Difference]:
    """Return every sum that does not equal the ledger; `connection` sees one moment of the database."""
    return [found for check in _checks(connection) for found in _differences(connection, check)]


def repairs(connection: Connection) -> str:
    """Return a word that another repair changes; to be read in the same moment as the differences."""
    return recall(connection, REPAIRED) or "0"


def repair(connection: Connection, found: list[Difference], known: str) -> None:
    """Take the differences out of the sums, if nobody has repaired since `known` was read. Raises Conflict."""
    if repairs(connection) != known:
        raise Conflict("somebody else repaired the sums meanwhile", hint="Check again.")
    remember(connection, REPAIRED, str(int(known) + 1))
    for each in found:
        columns = (*each.key, *each.more)
        row = (*each.key.values(), *(-more for more in each.more.values()))
        once: tuple[str, ...] = ()
        if each.table in ("credit_sum", "run_credit"):
            query = text("SELECT public FROM credit_sum WHERE volunteer_id = :number")
            public = connection.execute(query, {"number": each.key["volunteer_id"]}).scalar()
            columns, row, once = (*columns, "public"), (*row, bool(public)), ("public",)
        keys = tuple(each.key)
        if "slot" in metadata.tables[each.table].c:
            columns, row, keys = (*columns, "slot"), (*row, 0), (*keys, "slot")
        add_rows(connection, metadata.tables[each.table], columns, [row], keys=keys, once=once)


def _checks(connection: Connection) -> Iterator[_Check]:
    """Yield every sum: those of the rows first, then those of the sums."""
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        halves = f"({_AT} - {EPOCH}) / {HALF_LIFE_S}"
        weighed = f"power(2, least(greatest({halves}, -{MAX_HALF_LIVES}), {MAX_HALF_LIVES}))"
    else:
        raw: Any = connection.connection.dbapi_connection
        raw.create_function("ledger_weight", 1, weight, deterministic=True)
        weighed = f"ledger_weight({_AT})"
    score = f"e.amount_milli * {weighed} / 1000.0"
    open_credit, all_three = f"{_FOLDED} AND NOT e.house", ("amount_milli", "valid", "score")
    for table, key in (
        ("credit_sum", "volunteer_id"),
        ("credit_host", "host_id"),
        ("credit_team", "team_id"),
        ("credit_app", "app"),
    ):
        there = f" AND e.{key} IS NOT NULL"
        counted = f"SELECT e.{key}, e.amount_milli, {_VALID}, {score} FROM {_LEDGER} WHERE {open_credit}{there}"
        yield _Check(table, (key,), all_three, f"SELECT {key}, amount_milli, valid, score FROM {table}", counted)
    day = f"CAST(floor({_AT} / 86400) AS INTEGER)" if postgresql else f"CAST({_AT} / 86400 AS INTEGER)"
    for table, keys, counted, which in (
        ("credit_daily", ("volunteer_id", "day", "app_id"), f"e.volunteer_id, {day}, a.id", open_credit),
        ("credit_team_daily", ("team_id", "day"), f"e.team_id, {day}", f"{open_credit} AND e.team_id IS NOT NULL"),
        (
            "run_credit",
            ("run_id", "volunteer_id"),
            "e.run_id, e.volunteer_id",
            f"{open_credit} AND e.run_id IS NOT NULL",
        ),
        ("credit_house", ("volunteer_id", "project"), "e.volunteer_id, e.project", f"{_FOLDED} AND e.house"),
    ):
        yield _Check(
            table, keys, all_three[:2], f"SELECT {', '.join(keys)}, amount_milli, valid FROM {table}",
            f"SELECT {counted}, e.amount_milli, {_VALID} FROM {_LEDGER} JOIN credit_app AS a ON a.app = e.app "
            f"WHERE {which}",
        )  # fmt: skip
    yield _Check(
        "people_sum", ("public",), ("people", *all_three),
        "SELECT public, people, amount_milli, valid, score FROM people_sum",
        f"SELECT public, 1, amount_milli, valid, score FROM credit_sum UNION ALL {_MOVED}",
    )  # fmt: skip
    yield _Check(
        "tally", ("run_id", "what"), ("n",),
        "SELECT run_id, what, n FROM tally WHERE what IN ('credit', 'unlisted', 'volunteers')",
        "SELECT run_id, 'credit' AS what, amount_milli AS n FROM credit_entry WHERE run_id IS NOT NULL AND NOT house "
        "UNION ALL SELECT run_id, 'unlisted', amount_milli FROM run_credit WHERE NOT public "
        "UNION ALL SELECT run_id, 'volunteers', 1 FROM run_credit WHERE valid > 0",
    )  # fmt: skip


def _differences(connection: Connection, check: _Check) -> Iterator[Difference]:
    keys, values = check.keys, check.values
    names = ", ".join([*(f"k{n}" for n in range(len(keys))), *(f"v{n}" for n in range(len(values)))])
    minus = ", ".join([*(f"k{n}" for n in range(len(keys))), *(f"-v{n}" for n in range(len(values)))])
    sums = ", ".join(f"sum(v{n}) AS v{n}" for n in range(len(values)))
    wrong = " OR ".join(
        f"abs(sum(v{n})) > {NOISE} * sum(abs(v{n}))" if name == "score" else f"sum(v{n}) <> 0"
        for n, name in enumerate(values)
    )
    grouped = ", ".join(f"k{n}" for n in range(len(keys)))
    query = (
        f"WITH told({names}) AS ({check.told}), counted({names}) AS ({check.counted}) "
        f"SELECT {grouped}, {sums} FROM (SELECT {names} FROM told UNION ALL SELECT {minus} FROM counted) AS both_sides "
        f"GROUP BY {grouped} HAVING {wrong} LIMIT {SHOWN}"
    )
    for row in connection.execute(text(query)).all():
        more = {
            name: float(value) if name == "score" else int(value)
            for name, value in zip(values, row[len(keys) :], strict=True)
        }
        key = dict(zip(keys, row[: len(keys)], strict=True))
        yield Difference(check.table, key, more)
