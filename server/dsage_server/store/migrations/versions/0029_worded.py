"""Conditions of partial indexes that SQLite decides without a table in memory for each row"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_event_news", "event", ["id"], "kind", (
        "approved", "cancelled", "corrected", "correction", "discovery", "done", "failed", "submitted"), ""),
    ("ix_replica_failed_host", "replica", ["host_id", "id"], "state", ("error", "expired", "invalid"), ""),
    ("uq_replica_unit_volunteer", "replica", ["unit_id", "volunteer_id"], "state", (
        "invalid", "leased", "reported", "valid"), ""),
    ("ix_unit_ended", "unit", ["run_id", "id"], "state", ("cancelled", "valid"), ""),
    ("ix_unit_open", "unit", ["run_id", "state"], "state", ("active", "comparing", "ready"), ""),
    ("ix_unit_unfolded", "unit", ["run_id", "finished"], "state", ("failed", "valid"), "folded_step IS NULL"),
)  # fmt: skip


def upgrade() -> None:
    """Make these indexes anew; PostgreSQL takes either way of writing them for the other."""
    if op.get_bind().dialect.name == "postgresql":
        return
    for name, table, columns, column, words, besides in INDEXES:
        where = " OR ".join(f"{column} = '{word}'" for word in words)
        op.drop_index(name, table)
        op.create_index(
            name, table, columns, unique=name.startswith("uq_"),
            sqlite_where=sa.text(f"({where}) AND {besides}" if besides else where),
        )  # fmt: skip
