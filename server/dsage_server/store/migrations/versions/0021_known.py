"""Units whose answer is known, which go out once more under another number"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

WAITING = sa.text("replica_id IS NULL")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "known",
        sa.Column("id", number, primary_key=True, autoincrement=False),
        sa.Column("unit_id", number, nullable=False, unique=True),
        sa.Column("run_id", number, sa.ForeignKey("run.id"), nullable=False),
        sa.Column("made", sa.Float(), nullable=False),
        sa.Column("released", sa.Float()),
        sa.Column("replica_id", number),
    )
    op.create_index("ix_known_waiting", "known", ["run_id"], sqlite_where=WAITING, postgresql_where=WAITING)
