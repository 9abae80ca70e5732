"""The bytes that each researcher's runs need, added up"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blob_sum",
        sa.Column("researcher", sa.LargeBinary(), primary_key=True),
        sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    op.execute(
        "INSERT INTO blob_sum (researcher, slot, bytes) SELECT researcher, 0, sum(bytes) FROM "
        "(SELECT DISTINCT run.researcher, blob.sha256, blob.bytes FROM blob_ref "
        "JOIN run ON run.id = blob_ref.run_id JOIN blob ON blob.sha256 = blob_ref.sha256) AS needed "
        "GROUP BY researcher"
    )
