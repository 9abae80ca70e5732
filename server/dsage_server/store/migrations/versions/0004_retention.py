"""Archives of runs: their rows may go, and the ledger stays; a run's number is never given twice"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "archive",
        sa.Column("run_id", Id, nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("replicas", sa.BigInteger(), nullable=False),
        sa.Column("volunteers", sa.BigInteger(), nullable=False),
        sa.Column("made", sa.Float(), nullable=False),
        sa.Column("cleared", sa.Float()),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_archive_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_archive")),
    )
    with op.batch_alter_table("credit_entry") as table:
        table.drop_constraint("fk_credit_entry_replica_id", type_="foreignkey")
    op.execute("INSERT INTO meta SELECT 'next_run', CAST(max(id) + 1 AS VARCHAR) FROM run HAVING max(id) > 0")
