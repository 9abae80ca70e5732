"""Volunteers who get only units whose answers prove themselves, and the invites that make such accounts"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("volunteer", "invite", "open_link"):
        op.add_column(table, sa.Column("verifiable_only", sa.Boolean(), nullable=False, server_default=sa.false()))
