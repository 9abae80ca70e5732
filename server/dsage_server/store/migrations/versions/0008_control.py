"""What researchers do with a run: units tried again, runs retired, and their runs counted"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("unit", sa.Column("since_id", Id, nullable=False, server_default="0"))
    op.add_column("run", sa.Column("retired", sa.Float()))
    asked = sa.text("retired IS NOT NULL")
    op.create_index("ix_run_retired", "run", ["id"], sqlite_where=asked, postgresql_where=asked)
    op.create_index("ix_run_researcher", "run", ["researcher"])
