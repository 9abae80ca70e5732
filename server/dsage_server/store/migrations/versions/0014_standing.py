"""How far hosts are trusted: what they passed, copies that were taken alone, units that adapt to it"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

VALID = sa.text("state = 'valid'")
DUE = sa.text("due IS NOT NULL")


def upgrade() -> None:
    op.add_column("unit", sa.Column("adaptive", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("replica", sa.Column("trust", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_replica_valid_host", "replica", ["host_id", "id"], sqlite_where=VALID, postgresql_where=VALID)
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "standing",
        sa.Column("host_id", number, primary_key=True, autoincrement=False),
        sa.Column("app", sa.String(), primary_key=True),
        sa.Column("passed", sa.Float(), nullable=False),
        sa.Column("lies", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("due", sa.Float()),
    )
    op.create_index("ix_standing_due", "standing", ["due"], sqlite_where=DUE, postgresql_where=DUE)
