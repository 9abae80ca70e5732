"""The tallies of runs: sums that are kept with every commit, so that no page counts rows."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, func, select

from dsage.states import OPEN_UNITS
from dsage_server.store.bulk import add_rows
from dsage_server.store.schema import tally


def add_up(connection: Connection, sums: Counter[tuple[int, str]]) -> None:
    """Add to the tallies of runs: `what` happened how often."""
    slot = connection.info.get("slot", 0)
    rows = [(number, slot, what, n) for (number, what), n in sorted(sums.items()) if n]
    add_rows(connection, tally, ("run_id", "slot", "what", "n"), rows, keys=("run_id", "slot", "what"))


def of(connection: Connection, number: int | None = None) -> dict[str, int]:
    """Return the sums of a run, or of all runs, by what they count; what is none is not in them."""
    query = select(tally.c.what, func.sum(tally.c.n)).group_by(tally.c.what)
    if number is not None:
        query = query.where(tally.c.run_id == number)
    return {what: int(n) for what, n in connection.execute(query) if n}


def open_units(connection: Connection, number: int) -> int:
    """Return how many units of a run have not ended."""
    found = of(connection, number)
    return sum(found.get(f"unit.{state}", 0) for state in OPEN_UNITS)
