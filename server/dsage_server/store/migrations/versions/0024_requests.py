"""What people ask the operator to sign; who left, and corrections of the ledger, by the newest"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

GONE = sa.text("gone IS NOT NULL")
CORRECTION = sa.text("kind <> 'grant'")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "request",
        sa.Column("id", number, primary_key=True),
        sa.Column("key", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("projects", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("made", sa.Float(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("decided", sa.Float()),
        sa.Column("answer", sa.String(), nullable=False, server_default=""),
    )
    op.create_index("ix_volunteer_gone", "volunteer", ["gone"], sqlite_where=GONE, postgresql_where=GONE)
    op.create_index(
        "ix_credit_entry_correction", "credit_entry", ["id"], sqlite_where=CORRECTION, postgresql_where=CORRECTION
    )
