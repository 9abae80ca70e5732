"""The ledger, and the sums that are made of it."""

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

from dsage_server.store.schema.base import Id, metadata

credit_entry = Table(
    "credit_entry",
    metadata,
    Column("id", Id, primary_key=True),
    Column("replica_id", Id),
    Column("volunteer_id", Id, nullable=False),
    Column("host_id", Id),
    Column("run_id", Id, index=True),
    Column("project", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("amount_milli", Id, nullable=False),
    Column("granted", Float, nullable=False),
    Column("app", String, nullable=False, server_default=""),
    Column("team_id", Id),
    Column("house", Boolean, nullable=False, server_default=false()),
    Column("reverses", Id),
    Column("reason", String, nullable=False, server_default=""),
    Column("actor", String, nullable=False, server_default=""),
    UniqueConstraint("replica_id", "kind"),
    Index(
        "uq_credit_entry_reverses",
        "reverses",
        unique=True,
        sqlite_where=text("reverses IS NOT NULL"),
        postgresql_where=text("reverses IS NOT NULL"),
    ),
    Index(
        "ix_credit_entry_taken",
        "volunteer_id",
        "id",
        sqlite_where=text("kind <> 'grant'"),
        postgresql_where=text("kind <> 'grant'"),
    ),
    Index(
        "ix_credit_entry_correction",
        "id",
        sqlite_where=text("kind <> 'grant'"),
        postgresql_where=text("kind <> 'grant'"),
    ),
)
"""The ledger, to which rows are only added: triggers refuse every other change, and note each new row in
`credit_unfolded`.

`kind` is grant, reversal (it `reverses` a grant, whose amount it takes back), manual (an operator's correction, which
belongs to no copy, or what a copy's host got back when it was cleared) or retaken (it `reverses` such a row of a copy);
`reason` and `actor` are of all but the first. `team_id` is the volunteer's team when the grant was
made. `house` credit is in no public sum: a researcher's own computers earned it on the researcher's own run."""

credit_unfolded = Table("credit_unfolded", metadata, Column("entry_id", Id, primary_key=True, autoincrement=False))
"""The ledger's rows that are in no sum yet."""

ledger_span = Table(
    "ledger_span",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_id", Id, primary_key=True, autoincrement=False),
    Column("last_id", Id, nullable=False),
)
"""Which rows were added up in a day of the ledger (`ledger_day`), by the first and the last of consecutive ids. Spans
never overlap, and triggers refuse to change them."""

ledger_day = Table(
    "ledger_day",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, nullable=False),
    Column("closed", Float, nullable=False),
    Column("entries", BigInteger),
    Column("amount_milli", BigInteger),
    Column("hash", String),
)
"""The ledger's closed days, numbered from 1, each chained to the one before by `hash` (store/daybook.py): `day` is the
UTC day (since 1970) with whose end it was closed. The rows of the day that is open have the number after the last."""

credit_sum = Table(
    "credit_sum",
    metadata,
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("public", Boolean, nullable=False, server_default=false()),
    Index(
        "ix_credit_sum_listed",
        text("score DESC"),
        "volunteer_id",
        sqlite_where=text("public = 1"),
        postgresql_where=text("public"),
    ),
)
"""What each volunteer has earned, nothing included; `public` is the volunteer's, so that the list is an index."""

people_sum = Table(
    "people_sum",
    metadata,
    Column("public", Boolean, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("people", BigInteger, nullable=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)
"""`credit_sum` added up, those who are listed and the others, in slots as `tally`."""

credit_host = Table(
    "credit_host",
    metadata,
    Column("host_id", Id, primary_key=True, autoincrement=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)

credit_team = Table(
    "credit_team",
    metadata,
    Column("team_id", Id, primary_key=True, autoincrement=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)

credit_team_daily = Table(
    "credit_team_daily",
    metadata,
    Column("team_id", Id, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
)
"""What was granted to those who were in a team then, by the UTC day as in `credit_daily`."""

credit_app = Table(
    "credit_app",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("app", String, nullable=False, unique=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)
"""What app versions, by the hash of their manifest, have been worth; corrections that belong to none are under "".
Other sums name an app version by its short `id`."""

credit_daily = Table(
    "credit_daily",
    metadata,
    Column("volunteer_id", Id, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("app_id", Integer, primary_key=True, autoincrement=False),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Credit by the UTC day of the grant (days since 1970): what is taken back is taken from the day that had it."""

run_credit = Table(
    "run_credit",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", Integer, nullable=False),
    Column("public", Boolean, nullable=False, server_default=false()),
    Index(
        "ix_run_credit_listed",
        "run_id",
        text("amount_milli DESC"),
        "volunteer_id",
        sqlite_where=text("public = 1"),
        postgresql_where=text("public"),
    ),
)
"""Who earned what in a run; folded together with `credit_sum`."""

credit_house = Table(
    "credit_house",
    metadata,
    Column("volunteer_id", Id, primary_key=True, autoincrement=False),
    Column("project", String, primary_key=True),
    Column("amount_milli", BigInteger, nullable=False),
    Column("valid", BigInteger, nullable=False),
)
"""House credit, which is in none of the other sums."""

house_account = Table(
    "house_account",
    metadata,
    Column("researcher", LargeBinary, primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
)
"""Volunteers' accounts that belong to a researcher, by the researcher's code key."""
