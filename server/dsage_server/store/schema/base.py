"""What every room of tables shares."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, ColumnElement, Integer, MetaData, literal_column, or_

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
    """Return whether `column` is one of the states, as fixed text: unlike bound lists it can be executed for many rows
    at once, and it is written as in `worded`, by which alone SQLite finds a partial index."""
    return or_(*[column == literal_column(f"'{state}'") for state in sorted(states)])


def worded(column: str, states: Iterable[str]) -> str:
    """Return the same as the condition of a partial index. For a list of three or more words SQLite would make a table
    in memory whenever it writes a row: that was most of the price of writing a copy."""
    return " OR ".join([f"{column} = '{state}'" for state in sorted(states)])
