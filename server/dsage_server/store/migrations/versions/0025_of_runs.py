"""What anybody may read of what happened to a run: what names none of its units"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

OF_RUN = sa.text("unit_id IS NULL")


def upgrade() -> None:
    op.create_index("ix_event_of_run", "event", ["run_id", "id"], sqlite_where=OF_RUN, postgresql_where=OF_RUN)
