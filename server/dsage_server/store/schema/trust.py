"""Whose word is taken alone, and how that is looked after."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, text

from dsage_server.store.schema.base import Id, metadata

standing = Table(
    "standing",
    metadata,
    Column("host_id", Id, primary_key=True, autoincrement=False),
    Column("app", String, primary_key=True),
    Column("passed", Float, nullable=False),
    Column("lies", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("due", Float),
    Column("audit", Float, nullable=False, server_default="0"),
    Index("ix_standing_due", "due", sqlite_where=text("due IS NOT NULL"), postgresql_where=text("due IS NOT NULL")),
)
"""What is known of a host's answers for an app version (`dsage_validator.reputation`). `due` is when it was found
lying, until everything was looked at that was accepted on its word. `audit` is the share of its units that is checked
while it is an outlier, 0 otherwise."""

outlying = Table(
    "outlying",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host_id", Id, nullable=False),
    Column("app", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("began", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("ended", Float),
    Column("sentence", String, nullable=False),
    Column("figures", String, nullable=False),
    Index("ix_outlying_host", "host_id", "id"),
    Index(
        "uq_outlying_open",
        "host_id",
        "app",
        "kind",
        unique=True,
        sqlite_where=text("ended IS NULL"),
        postgresql_where=text("ended IS NULL"),
    ),
)
"""What is odd about a host with an app version, or with all of them (`app` is ""), or about an app version on all hosts
(`host_id` is 0): one row from when it was found until it has `ended`, `seen` for the last time at that. `figures` is
JSON."""

_waiting = text("replica_id IS NULL")

known = Table(
    "known",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("unit_id", Id, nullable=False, unique=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("made", Float, nullable=False),
    Column("released", Float),
    Column("replica_id", Id),
    Index("ix_known_waiting", "run_id", sqlite_where=_waiting, postgresql_where=_waiting),
)
"""Units whose answer is known already, sent out once more under another number (`id`, by which its `signed_unit` is
found) to see what a computer says: `replica_id` is the copy that went out so, since `released`."""

_asked = text("unit_id IS NOT NULL")

last_word = Table(
    "last_word",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False, index=True),
    Column("unit_id", Id),
    Index("ix_last_word_waiting", "id", sqlite_where=_asked, postgresql_where=_asked),
)
"""Accepted answers of runs that are done that one more volunteer is asked about; without `unit_id`: those of the run
were chosen."""
