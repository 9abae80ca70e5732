"""Units that a run has put aside when it went back"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "aside",
        sa.Column("unit_id", Id, autoincrement=False, nullable=False),
        sa.Column("run_id", Id, nullable=False),
        sa.Column("work", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_aside_run_id_run")),
        sa.PrimaryKeyConstraint("unit_id", name=op.f("pk_aside")),
    )
    op.create_index("ix_aside_work", "aside", ["run_id", "work"])
