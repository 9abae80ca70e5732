"""What visitors of the front page read of events"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

NEWS = sa.text(
    "kind IN ('approved', 'cancelled', 'corrected', 'correction', 'discovery', 'done', 'failed', 'submitted')"
)


def upgrade() -> None:
    op.create_index("ix_event_news", "event", ["id"], sqlite_where=NEWS, postgresql_where=NEWS)
