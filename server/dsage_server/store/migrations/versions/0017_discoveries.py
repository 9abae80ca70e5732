"""Discoveries, from what an author declares to what is published"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

CANDIDATE = sa.text("state = 'candidate'")
PUBLISHED = sa.text("published IS NOT NULL")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "discovery",
        sa.Column("id", number, primary_key=True),
        sa.Column("run_id", number, nullable=False),
        sa.Column("unit_id", number, nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("facts", sa.String(), nullable=False),
        sa.Column("check_line", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("step", number),
        sa.Column("declared", sa.Float(), nullable=False),
        sa.Column("confirmed", sa.Float()),
        sa.Column("published", sa.Float()),
        sa.Column("proven", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("people", sa.String(), nullable=False, server_default="[]"),
        sa.Column("reason", sa.String(), nullable=False, server_default=""),
        sa.Column("correction", sa.String(), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_discovery_run_id")),
        sa.UniqueConstraint("run_id", "unit_id", "title", name=op.f("uq_discovery_run_id_unit_id_title")),
    )
    op.create_index("ix_discovery_unit_id", "discovery", ["unit_id"])
    op.create_index("ix_discovery_candidate", "discovery", ["id"], sqlite_where=CANDIDATE, postgresql_where=CANDIDATE)
    op.create_index(
        "ix_discovery_published", "discovery", ["published"], sqlite_where=PUBLISHED, postgresql_where=PUBLISHED
    )
