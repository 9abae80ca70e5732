"""A ledger to which rows are only added: reversals, corrections, house credit, further sums, days in a chain"""

import math
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FIXED = (
    "id", "replica_id", "volunteer_id", "host_id", "run_id", "project", "kind", "amount_milli", "granted", "app",
    "team_id", "house", "reverses", "reason", "actor",
)  # fmt: skip
WORDS = "the ledger only grows: take back what a row grants by a reversal"


def upgrade() -> None:
    shared = op.get_bind().dialect.name == "postgresql"
    op.drop_index("ix_credit_entry_unfolded", "credit_entry")
    _widen(shared)
    op.execute("UPDATE credit_entry SET app = (SELECT app FROM run WHERE run.id = credit_entry.run_id)")
    op.create_index("ix_credit_entry_folded", "credit_entry", ["folded", "id"])
    for name, column, unique, condition in (
        ("uq_credit_entry_reverses", ["reverses"], True, "reverses IS NOT NULL"),
        ("ix_credit_entry_taken", ["volunteer_id", "id"], False, "kind <> 'grant'"),
    ):
        where = sa.text(condition)
        op.create_index(name, "credit_entry", column, unique=unique, sqlite_where=where, postgresql_where=where)
    _sums()
    _fill(shared)
    _guard(shared)


def _widen(shared: bool) -> None:
    if shared:
        op.execute(
            "ALTER TABLE credit_entry ALTER COLUMN folded DROP DEFAULT, "
            "ALTER COLUMN folded TYPE integer USING folded::integer, ALTER COLUMN folded SET DEFAULT 0"
        )
    with op.batch_alter_table("credit_entry") as table:
        if not shared:
            table.alter_column("folded", type_=sa.Integer(), existing_type=sa.Boolean(), server_default="0")
        for name, kind in (("replica_id", Id), ("host_id", Id), ("run_id", Id)):
            table.alter_column(name, existing_type=kind, nullable=True)
        table.add_column(sa.Column("app", sa.String(), nullable=False, server_default=""))
        table.add_column(sa.Column("team_id", Id))
        table.add_column(sa.Column("house", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("reverses", Id))
        table.add_column(sa.Column("reason", sa.String(), nullable=False, server_default=""))
        table.add_column(sa.Column("actor", sa.String(), nullable=False, server_default=""))
        table.drop_constraint("uq_credit_entry_replica_id", type_="unique")
        table.create_unique_constraint(op.f("uq_credit_entry_replica_id_kind"), ["replica_id", "kind"])


def _sums() -> None:
    for name, key, kind in (("host", "host_id", Id), ("team", "team_id", Id), ("app", "app", sa.String())):
        op.create_table(
            f"credit_{name}",
            sa.Column(key, kind, nullable=False, autoincrement=False),
            sa.Column("amount_milli", sa.BigInteger(), nullable=False),
            sa.Column("valid", sa.BigInteger(), nullable=False),
            sa.Column("score", sa.Float(), nullable=False),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_credit_{name}")),
        )
    for name, keys in (
        ("daily", (("day", sa.Integer()), ("app", sa.String()))),
        ("house", (("project", sa.String()),)),
    ):
        op.create_table(
            f"credit_{name}",
            sa.Column("volunteer_id", Id, nullable=False, autoincrement=False),
            *[sa.Column(key, kind, nullable=False, autoincrement=False) for key, kind in keys],
            sa.Column("amount_milli", sa.BigInteger(), nullable=False),
            sa.Column("valid", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("volunteer_id", *[key for key, _ in keys], name=op.f(f"pk_credit_{name}")),
        )
    op.create_index("ix_credit_daily_day", "credit_daily", ["day"])
    op.create_table(
        "house_account",
        sa.Column("researcher", sa.LargeBinary(), nullable=False),
        sa.Column("volunteer_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["volunteer_id"], ["volunteer.id"], name=op.f("fk_house_account_volunteer_id")),
        sa.PrimaryKeyConstraint("researcher", "volunteer_id", name=op.f("pk_house_account")),
    )
    op.create_table(
        "ledger_day",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Float(), nullable=False),
        sa.Column("entries", sa.BigInteger()),
        sa.Column("amount_milli", sa.BigInteger()),
        sa.Column("hash", sa.String()),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ledger_day")),
    )


def _fill(shared: bool) -> None:
    """Make the new sums of what was added up already."""
    weight = "power(2, least(greatest((granted - 1790000000.0) / 604800.0, -900), 900))"
    if not shared:
        raw: Any = op.get_bind().connection.dbapi_connection
        raw.create_function("weight", 1, _weight, deterministic=True)
        weight = "weight(granted)"
    score = f"sum({weight} * amount_milli / 1000.0)"
    for key in ("host", "app"):
        column = "host_id" if key == "host" else "app"
        op.execute(
            f"INSERT INTO credit_{key} SELECT {column}, sum(amount_milli), count(*), {score} FROM credit_entry "
            f"WHERE folded <> 0 GROUP BY {column}"
        )
    op.execute(
        "INSERT INTO credit_daily SELECT volunteer_id, CAST(floor(granted / 86400) AS INTEGER), app, "
        "sum(amount_milli), count(*) FROM credit_entry WHERE folded <> 0 GROUP BY 1, 2, 3"
        if shared
        else "INSERT INTO credit_daily SELECT volunteer_id, CAST(granted / 86400 AS INTEGER), app, "
        "sum(amount_milli), count(*) FROM credit_entry WHERE folded <> 0 GROUP BY 1, 2, 3"
    )


def _weight(granted: float) -> float:
    return math.exp2(min(max((granted - 1_790_000_000.0) / 604_800.0, -900.0), 900.0))


def _guard(shared: bool) -> None:
    """Refuse what is not adding, but to mark a row once as added up. Who rebuilds the table must do this again."""
    if not shared:
        for name, when in (
            ("stays", "DELETE ON credit_entry"),
            ("fixed", f"UPDATE OF {', '.join(FIXED)} ON credit_entry"),
            ("folded_once", "UPDATE OF folded ON credit_entry WHEN OLD.folded <> 0"),
        ):
            op.execute(f"CREATE TRIGGER credit_entry_{name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{WORDS}'); END")
        return
    op.execute(
        "CREATE FUNCTION credit_entry_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{WORDS}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for name, when in (
        ("stays", "DELETE ON credit_entry FOR EACH ROW"),
        ("whole", "TRUNCATE ON credit_entry FOR EACH STATEMENT"),
        ("fixed", f"UPDATE OF {', '.join(FIXED)} ON credit_entry FOR EACH ROW"),
        ("folded_once", "UPDATE OF folded ON credit_entry FOR EACH ROW WHEN (OLD.folded <> 0)"),
    ):
        op.execute(f"CREATE TRIGGER credit_entry_{name} BEFORE {when} EXECUTE FUNCTION credit_entry_only_grows()")
