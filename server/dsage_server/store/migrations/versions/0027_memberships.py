"""Who was in which team and when; what teams were granted by day"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

OPEN = sa.text("until IS NULL")
LEFT = sa.text("until IS NOT NULL")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "membership",
        sa.Column("id", number, primary_key=True),
        sa.Column("team_id", number, nullable=False),
        sa.Column("volunteer_id", number, nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float()),
        sa.Column("founded", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("ix_membership_team", "membership", ["team_id", "id"])
    op.create_index("ix_membership_volunteer", "membership", ["volunteer_id", "id"])
    op.create_index(
        "uq_membership_open", "membership", ["volunteer_id"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_index("ix_membership_left", "membership", ["team_id", "until"], sqlite_where=LEFT, postgresql_where=LEFT)
    op.execute(
        "INSERT INTO membership (team_id, volunteer_id, since, founded) "
        "SELECT v.team_id, v.id, coalesce(v.team_since, t.created), coalesce(v.team_since = t.created, false) "
        "FROM volunteer AS v JOIN team AS t ON t.id = v.team_id ORDER BY v.team_since, v.id"
    )
    op.create_table(
        "credit_team_daily",
        sa.Column("team_id", number, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("amount_milli", sa.BigInteger(), nullable=False),
        sa.Column("valid", sa.BigInteger(), nullable=False),
    )
    at = "coalesce(g.granted, e.granted) / 86400"
    day = f"CAST(floor({at}) AS INTEGER)" if op.get_bind().dialect.name == "postgresql" else f"CAST({at} AS INTEGER)"
    op.execute(
        f"INSERT INTO credit_team_daily SELECT e.team_id, {day}, sum(e.amount_milli), "
        "sum(CASE e.kind WHEN 'grant' THEN 1 WHEN 'reversal' THEN -1 ELSE 0 END) "
        "FROM credit_entry AS e LEFT JOIN credit_entry AS g ON g.id = e.reverses "
        "WHERE e.team_id IS NOT NULL AND NOT e.house AND e.id NOT IN (SELECT entry_id FROM credit_unfolded) "
        "GROUP BY 1, 2"
    )
