"""What every room of tables shares."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, ColumnElement, Integer, MetaData, literal_column

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")


def among(column: ColumnElement[str], states: Iterable[str]) -> ColumnElement[bool]:
    """Return `column IN (states)` as fixed text: unlike bound lists it can be executed for many rows at once. Of one
    state `column = state`, by which alone SQLite finds a partial index on it."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in sorted(states)]
    return column == words[0] if len(words) == 1 else column.in_(words)
