"""Blobs, what refers to them, and uploads; the server enters bundles of before when it starts"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "blob",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("last_used", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_blob"),
        sa.UniqueConstraint("object", name="uq_blob_object"),
    )
    op.create_index("ix_blob_last_used", "blob", ["last_used"])
    op.create_table(
        "blob_ref",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("run_id", Id, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["blob.sha256"], name="fk_blob_ref_sha256"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_blob_ref_run_id"),
        sa.PrimaryKeyConstraint("sha256", "run_id", "kind", name="pk_blob_ref"),
    )
    op.create_index("ix_blob_ref_run_id", "blob_ref", ["run_id"])
    op.create_table(
        "blob_upload",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("touched", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blob_upload"),
        sa.UniqueConstraint("owner", "sha256", name="uq_blob_upload_owner_sha256"),
    )
    op.create_index("ix_blob_upload_touched", "blob_upload", ["touched"])
    op.create_table(
        "blob_piece",
        sa.Column("upload_id", sa.String(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["blob_upload.id"], name="fk_blob_piece_upload_id"),
        sa.PrimaryKeyConstraint("upload_id", "start", name="pk_blob_piece"),
        sa.UniqueConstraint("object", name="uq_blob_piece_object"),
    )


def downgrade() -> None:
    for table in ("blob_piece", "blob_upload", "blob_ref", "blob"):
        op.drop_table(table)
