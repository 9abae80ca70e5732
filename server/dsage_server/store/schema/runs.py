"""Runs, what their researchers signed, and how far they are."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    false,
    text,
)

from dsage_server.store.schema.base import Id, metadata

document = Table(
    "document",
    metadata,
    Column("hash", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_key", String, nullable=False, unique=True),
    Column("project", String, nullable=False),
    Column("title", String, nullable=False),
    Column("app", ForeignKey("document.hash"), nullable=False),
    Column("authorisation", ForeignKey("document.hash"), nullable=False),
    Column("researcher", LargeBinary, nullable=False),
    Column("params", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("fence", Id, nullable=False),
    Column("step", Id, nullable=False),
    Column("driver_state", LargeBinary, nullable=False),
    Column("driver_seen", Float),
    Column("progress", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("reason", String, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("platforms", String, nullable=False, server_default="[]"),
    Column("tags", String, nullable=False, server_default="[]"),
    Column("hosted", Boolean, nullable=False, server_default=false()),
    Column("retired", Float),
    Index("ix_run_researcher", "researcher"),
    Index(
        "ix_run_retired", "id", sqlite_where=text("retired IS NOT NULL"), postgresql_where=text("retired IS NOT NULL")
    ),
    Index("ix_run_running", "id", sqlite_where=text("state = 'running'"), postgresql_where=text("state = 'running'")),
)
"""`platforms` and `tags` are JSON lists: where its units may run at all. `retired` is when its researcher asked to have
it archived, until it is."""

run_step = Table(
    "run_step",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("step", Id, primary_key=True, autoincrement=False),
    Column("state", LargeBinary, nullable=False),
)
"""Driver states after some of a run's steps: where it can go back to when a folded answer does not hold."""

aside = Table(
    "aside",
    metadata,
    Column("unit_id", Id, primary_key=True, autoincrement=False),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("work", String, nullable=False),
    Index("ix_aside_work", "run_id", "work"),
)
"""Units of steps that their run went back to before: it makes them again if it comes to the same `work`, a hash."""

tally = Table(
    "tally",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("what", String, primary_key=True),
    Column("n", BigInteger, nullable=False),
)
"""Sums that are kept with every commit: `unit.STATE`, `replica.STATE` and `credit` (thousandths) of a run; of its units
`aside.STATE`, those that a replay put aside; and of the
credit that is folded, how many `volunteers` have some, and what those have who are not listed (`unlisted`).

Each server process counts in a slot of its own, so none waits for another; whoever reads adds them up."""

archive = Table(
    "archive",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("file", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("replicas", BigInteger, nullable=False),
    Column("volunteers", BigInteger, nullable=False),
    Column("made", Float, nullable=False),
    Column("cleared", Float),
)
"""Runs whose rows lie in a file; they are all gone from the tables once it is `cleared`."""
