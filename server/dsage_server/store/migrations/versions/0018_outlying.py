"""Outliers: what is odd about hosts and app versions, and how hosts fail"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

FAILED = sa.text("state IN ('error', 'expired', 'invalid')")
OPEN = sa.text("ended IS NULL")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("standing", sa.Column("audit", sa.Float(), nullable=False, server_default="0"))
    op.create_index(
        "ix_replica_failed_host", "replica", ["host_id", "id"], sqlite_where=FAILED, postgresql_where=FAILED
    )
    op.create_table(
        "outlying",
        sa.Column("id", number, primary_key=True),
        sa.Column("host_id", number, nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("began", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float()),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("figures", sa.String(), nullable=False),
    )
    op.create_index("ix_outlying_host", "outlying", ["host_id", "id"])
    op.create_index(
        "uq_outlying_open",
        "outlying",
        ["host_id", "app", "kind"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
