"""Lists that many people ask for are read from indexes and sums, however long the tables are"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, first, key in (("credit_sum", [], "score"), ("run_credit", ["run_id"], "amount_milli")):
        op.add_column(table, sa.Column("public", sa.Boolean(), nullable=False, server_default=sa.false()))
        op.execute(
            f"UPDATE {table} SET public = (SELECT public FROM volunteer WHERE volunteer.id = {table}.volunteer_id)"
        )
        op.create_index(
            f"ix_{table}_listed",
            table,
            [*first, sa.text(f"{key} DESC"), "volunteer_id"],
            sqlite_where=sa.text("public = 1"),
            postgresql_where=sa.text("public"),
        )
    op.execute(
        "INSERT INTO credit_sum (volunteer_id, amount_milli, valid, score, public) "
        "SELECT id, 0, 0, 0, public FROM volunteer WHERE id NOT IN (SELECT volunteer_id FROM credit_sum)"
    )
    op.create_table(
        "people_sum",
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("people", sa.BigInteger(), nullable=False),
        sa.Column("amount_milli", sa.BigInteger(), nullable=False),
        sa.Column("valid", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("public", "slot", name=op.f("pk_people_sum")),
    )
    op.execute(
        "INSERT INTO people_sum SELECT public, 0, count(*), sum(amount_milli), sum(valid), sum(score) "
        "FROM credit_sum GROUP BY public"
    )
    op.execute("INSERT INTO tally SELECT run_id, 0, 'volunteers', count(*) FROM run_credit GROUP BY run_id")
    op.execute(
        "INSERT INTO tally SELECT run_id, 0, 'unlisted', sum(amount_milli) FROM run_credit "
        "WHERE NOT public GROUP BY run_id"
    )
    _indexes()


def _indexes() -> None:
    """Those that pages and programs need; one that was too wide; one that SQLite did not know again, as its condition
    was not written as in the query."""
    op.drop_index("ix_unit_unfolded", "unit")
    ended = sa.text("state IN ('failed', 'valid') AND folded_step IS NULL")
    op.create_index("ix_unit_unfolded", "unit", ["run_id", "finished"], sqlite_where=ended, postgresql_where=ended)
    op.create_index(op.f("ix_host_last_seen"), "host", ["last_seen"])
    still = sa.text("state = 'running'")
    op.create_index("ix_run_running", "run", ["id"], sqlite_where=still, postgresql_where=still)
    op.drop_index("ix_unit_run", "unit")
    still = sa.text("state IN ('active', 'comparing', 'ready')")
    op.create_index("ix_unit_open", "unit", ["run_id", "state"], sqlite_where=still, postgresql_where=still)
    op.drop_index("ix_event_run_id", "event")
    op.create_index("ix_event_run", "event", ["run_id", "id"])
    known = sa.text("unit_id IS NOT NULL")
    op.create_index("ix_event_unit", "event", ["unit_id", "id"], sqlite_where=known, postgresql_where=known)
