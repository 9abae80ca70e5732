"""Ledger rows that are never changed: what is not added up yet, and the days, stand beside them; short names of apps"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = "the ledger only grows: take back what a row grants by a reversal"


def upgrade() -> None:
    shared = op.get_bind().dialect.name == "postgresql"
    _name_apps()
    _shorten_days()
    _set_days_apart()
    op.execute("DROP TRIGGER credit_entry_folded_once" + (" ON credit_entry" if shared else ""))
    op.execute("DROP TRIGGER credit_entry_fixed" + (" ON credit_entry" if shared else ""))
    op.drop_index("ix_credit_entry_folded", "credit_entry")
    op.drop_column("credit_entry", "folded")
    _guard(shared)


def _name_apps() -> None:
    op.execute("CREATE TABLE credit_app_was AS SELECT * FROM credit_app")
    op.drop_table("credit_app")
    op.create_table(
        "credit_app",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("amount_milli", sa.BigInteger(), nullable=False),
        sa.Column("valid", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_app")),
        sa.UniqueConstraint("app", name=op.f("uq_credit_app_app")),
    )
    columns = "app, amount_milli, valid, score"
    op.execute(f"INSERT INTO credit_app ({columns}) SELECT {columns} FROM credit_app_was ORDER BY app")
    op.execute("DROP TABLE credit_app_was")


def _shorten_days() -> None:
    """An app that has days has a sum, also if that is nothing: both were folded together."""
    op.execute("CREATE TABLE credit_daily_was AS SELECT * FROM credit_daily")
    op.drop_table("credit_daily")
    op.create_table(
        "credit_daily",
        sa.Column("volunteer_id", Id, nullable=False, autoincrement=False),
        sa.Column("day", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("app_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("amount_milli", sa.BigInteger(), nullable=False),
        sa.Column("valid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("volunteer_id", "day", "app_id", name=op.f("pk_credit_daily")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO credit_daily SELECT w.volunteer_id, w.day, a.id, w.amount_milli, w.valid "
        "FROM credit_daily_was AS w JOIN credit_app AS a ON a.app = w.app ORDER BY 1, 2, 3"
    )
    op.execute("DROP TABLE credit_daily_was")


def _set_days_apart() -> None:
    op.create_table(
        "credit_unfolded",
        sa.Column("entry_id", Id, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_credit_unfolded")),
    )
    op.create_table(
        "ledger_span",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("first_id", Id, nullable=False, autoincrement=False),
        sa.Column("last_id", Id, nullable=False),
        sa.PrimaryKeyConstraint("number", "first_id", name=op.f("pk_ledger_span")),
    )
    op.execute("INSERT INTO credit_unfolded SELECT id FROM credit_entry WHERE folded = 0")
    op.execute(
        "INSERT INTO ledger_span SELECT folded, min(id), max(id) FROM (SELECT id, folded, "
        "id - row_number() OVER (PARTITION BY folded ORDER BY id) AS gap FROM credit_entry WHERE folded <> 0) AS e "
        "GROUP BY folded, gap"
    )


def _guard(shared: bool) -> None:
    """Note each new row, and refuse every change. Who rebuilds a table must do this again."""
    if not shared:
        op.execute(
            "CREATE TRIGGER credit_entry_noted AFTER INSERT ON credit_entry "
            "BEGIN INSERT INTO credit_unfolded VALUES (NEW.id); END"
        )
        for name, when in (
            ("credit_entry_fixed", "UPDATE ON credit_entry"),
            ("ledger_span_fixed", "UPDATE ON ledger_span"),
            ("ledger_span_stays", "DELETE ON ledger_span"),
        ):
            op.execute(f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{WORDS}'); END")
        return
    op.execute(
        "CREATE FUNCTION credit_entry_is_noted() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO credit_unfolded SELECT id FROM added; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER credit_entry_noted AFTER INSERT ON credit_entry REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION credit_entry_is_noted()"
    )
    for name, when in (
        ("credit_entry_fixed", "UPDATE ON credit_entry FOR EACH ROW"),
        ("ledger_span_fixed", "UPDATE OR DELETE ON ledger_span FOR EACH ROW"),
        ("ledger_span_whole", "TRUNCATE ON ledger_span FOR EACH STATEMENT"),
    ):
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION credit_entry_only_grows()")
