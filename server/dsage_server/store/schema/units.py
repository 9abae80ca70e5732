"""Units and their copies: what is signed, who has it, and what came back."""

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
    UniqueConstraint,
    false,
    text,
)

from dsage.states import HOLDS_PLACE, OPEN_UNITS
from dsage_server.store.schema.base import Id, metadata, worded

batch = Table(
    "batch",
    metadata,
    Column("id", Id, primary_key=True),
    Column("envelope", LargeBinary, nullable=False),
    Column("expires", Float, nullable=False),
)

_open = text(worded("state", OPEN_UNITS))
_failed = text("state = 'failed'")
_ended = text(worded("state", ("cancelled", "valid")))
_unfolded = text(f"({worded('state', ('failed', 'valid'))}) AND folded_step IS NULL")

unit = Table(
    "unit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("key", String, nullable=False),
    Column("grp", String, nullable=False),
    Column("state", String, nullable=False),
    Column("quorum", Id, nullable=False),
    Column("unsent", Id, nullable=False),
    Column("credit_milli", Id, nullable=False),
    Column("deadline_s", Float, nullable=False),
    Column("canonical_id", Id),
    Column("folded_step", Id),
    Column("reason", String, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("claimed_by", Integer),
    Column("claimed_until", Float),
    Column("memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("disk_bytes", BigInteger, nullable=False, server_default="0"),
    Column("output_bytes", BigInteger, nullable=False, server_default="0"),
    Column("wall_s", Float, nullable=False, server_default="0"),
    Column("inputs", Boolean, nullable=False, server_default=false()),
    Column("made_step", Id),
    Column("refused_id", Id),
    Column("splits", Boolean, nullable=False, server_default=false()),
    Column("code", String, nullable=False, server_default=""),
    Column("since_id", Id, nullable=False, server_default="0"),
    Column("retries", Integer),
    Column("adaptive", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("run_id", "key"),
    Index(
        "ix_unit_ready", "run_id", "id", sqlite_where=text("state = 'ready'"), postgresql_where=text("state = 'ready'")
    ),
    Index(
        "ix_unit_unfolded",
        "run_id",
        "finished",
        sqlite_where=_unfolded,
        postgresql_where=_unfolded,
    ),
    Index("ix_unit_open", "run_id", "state", sqlite_where=_open, postgresql_where=_open),
    Index("ix_unit_failed", "run_id", "id", sqlite_where=_failed, postgresql_where=_failed),
    Index("ix_unit_ended", "run_id", "id", sqlite_where=_ended, postgresql_where=_ended),
    Index(
        "ix_unit_refused",
        "run_id",
        "id",
        sqlite_where=text("refused_id IS NOT NULL"),
        postgresql_where=text("refused_id IS NOT NULL"),
    ),
)
"""`made_step` and `folded_step` are the steps of its run that made it and folded its answer or cancelled it (0: it is
put aside). `refused_id` is the replica whose answer was folded and does not hold any more, until the driver has taken
it back. `code` is the reason of a failure as one word; a unit that `splits` fails with the first time limit that was
passed. Replicas up to `since_id` were of an earlier try. `retries` is how many failures are followed by another try;
null: the server's rule. Of an `adaptive` one a trusted host's answer is taken alone."""

signed_unit = Table(
    "signed_unit",
    metadata,
    Column("unit_id", Id, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("batch_id", Id, nullable=False),
    Column("leaf_index", Integer, nullable=False),
    Column("path", LargeBinary, nullable=False),
)
"""A unit as it is signed, apart from the row that moves: ten times as many of those lie in a page of the disk."""

proof = Table(
    "proof",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host_id", Id, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("received", Float, nullable=False),
)

_holds_place = text(worded("state", HOLDS_PLACE))
_failed_copies = text(worded("state", ("error", "expired", "invalid")))

replica = Table(
    "replica",
    metadata,
    Column("id", Id, primary_key=True),
    Column("unit_id", Id, nullable=False, index=True),
    Column("host_id", Id, nullable=False),
    Column("volunteer_id", Id, nullable=False),
    Column("state", String, nullable=False),
    Column("lease", LargeBinary, nullable=False),
    Column("leased", Float, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("hard_deadline", Float, nullable=False),
    Column("cpu_s", Float, nullable=False, server_default="0"),
    Column("reported", Float),
    Column("value_hash", String),
    Column("proof_id", Id),
    Column("camp", Id),
    Column("proven", Boolean),
    Column("partial", Boolean, nullable=False, server_default=false()),
    Column("share", Float, nullable=False, server_default="1"),
    Column("reason", String, nullable=False, server_default=""),
    Column("length_s", Float, nullable=False, server_default="0"),
    Column("wall_s", Float, nullable=False, server_default="0"),
    Column("trust", Integer, nullable=False, server_default="0"),
    Index(
        "uq_replica_unit_volunteer",
        "unit_id",
        "volunteer_id",
        unique=True,
        sqlite_where=_holds_place,
        postgresql_where=_holds_place,
    ),
    Index(
        "ix_replica_deadline",
        "deadline",
        sqlite_where=text("state = 'leased'"),
        postgresql_where=text("state = 'leased'"),
    ),
    Index(
        "ix_replica_leased_host",
        "host_id",
        sqlite_where=text("state = 'leased'"),
        postgresql_where=text("state = 'leased'"),
    ),
    Index(
        "ix_replica_valid_host",
        "host_id",
        "id",
        sqlite_where=text("state = 'valid'"),
        postgresql_where=text("state = 'valid'"),
    ),
    Index(
        "ix_replica_failed_host",
        "host_id",
        "id",
        sqlite_where=_failed_copies,
        postgresql_where=_failed_copies,
    ),
    Index(
        "ix_replica_reported",
        "volunteer_id",
        sqlite_where=text("state = 'reported'"),
        postgresql_where=text("state = 'reported'"),
    ),
    Index(
        "ix_replica_unjudged",
        "unit_id",
        sqlite_where=text("state = 'reported' AND camp IS NULL"),
        postgresql_where=text("state = 'reported' AND camp IS NULL"),
    ),
)

answer = Table(
    "answer",
    metadata,
    Column("replica_id", Id, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
    Column("blob", String),
)
"""The answers themselves, apart from the rows that move. Of equal ones only the first of a unit is kept.

A large one is the blob of this hash, and `value` is empty, as no encoded value is."""

printed = Table(
    "printed",
    metadata,
    Column("replica_id", Id, primary_key=True, autoincrement=False),
    Column("output", LargeBinary, nullable=False),
)
"""The end of what a replica printed, for its researcher to read; only of those that printed something."""
