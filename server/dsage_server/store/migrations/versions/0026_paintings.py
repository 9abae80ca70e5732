"""The pictures of runs that are archived, and who painted them"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "painting",
        sa.Column("run_id", number, sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "painted_tile",
        sa.Column("run_id", number, sa.ForeignKey("painting.run_id"), primary_key=True),
        sa.Column("unit_id", number, primary_key=True),
        sa.Column("volunteer_id", number, sa.ForeignKey("volunteer.id"), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
    )
    op.create_index("ix_painted_tile_volunteer", "painted_tile", ["volunteer_id", "run_id"])
