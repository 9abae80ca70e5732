"""What strangers share with others who may be the same person"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kin",
        sa.Column("volunteer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("word", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["volunteer_id"], ["volunteer.id"], name=op.f("fk_kin_volunteer_id")),
        sa.PrimaryKeyConstraint("volunteer_id", "word", name=op.f("pk_kin")),
    )
    op.create_index("ix_kin_word", "kin", ["word"])
