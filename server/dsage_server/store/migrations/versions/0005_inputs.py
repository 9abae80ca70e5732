"""Units may have input files, for hosts that can fetch them; large answers are blobs"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("host", sa.Column("features", sa.String(), nullable=False, server_default="[]"))
    op.add_column("unit", sa.Column("inputs", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("answer", sa.Column("blob", sa.String()))
