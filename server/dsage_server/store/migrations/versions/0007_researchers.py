"""What researchers ask for: runs that are hosted, steps to go back to, what units printed, quotas"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("run", sa.Column("hosted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("unit", sa.Column("made_step", Id))
    op.add_column("unit", sa.Column("refused_id", Id))
    op.add_column("unit", sa.Column("splits", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("unit", sa.Column("code", sa.String(), nullable=False, server_default=""))
    op.add_column("replica", sa.Column("wall_s", sa.Float(), nullable=False, server_default="0"))
    refused = sa.text("refused_id IS NOT NULL")
    op.create_index("ix_unit_refused", "unit", ["run_id", "id"], sqlite_where=refused, postgresql_where=refused)
    for name, states in (("ix_unit_failed", "state = 'failed'"), ("ix_unit_ended", "state IN ('cancelled', 'valid')")):
        where = sa.text(states)
        op.create_index(name, "unit", ["run_id", "id"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "printed",
        sa.Column("replica_id", Id, autoincrement=False, nullable=False),
        sa.Column("output", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("replica_id", name=op.f("pk_printed")),
    )
    op.create_table(
        "run_step",
        sa.Column("run_id", Id, nullable=False),
        sa.Column("step", Id, autoincrement=False, nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_step_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_run_step")),
    )
    op.create_table(
        "quota",
        sa.Column("researcher", sa.LargeBinary(), nullable=False),
        sa.Column("runs", sa.BigInteger()),
        sa.Column("open_units", sa.BigInteger()),
        sa.Column("blob_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("researcher", name=op.f("pk_quota")),
    )
