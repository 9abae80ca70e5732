"""Answers that are asked once more when their run is done"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

WAITING = sa.text("unit_id IS NOT NULL")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "last_word",
        sa.Column("id", number, primary_key=True),
        sa.Column("run_id", number, sa.ForeignKey("run.id"), nullable=False, index=True),
        sa.Column("unit_id", number),
    )
    op.create_index("ix_last_word_waiting", "last_word", ["id"], sqlite_where=WAITING, postgresql_where=WAITING)
    op.execute("INSERT INTO last_word (run_id) SELECT id FROM run WHERE state = 'done'")
