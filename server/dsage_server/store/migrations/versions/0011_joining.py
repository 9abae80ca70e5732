"""Joining: links for anybody, further computers of an account, computers that have names and that leave"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("volunteer", sa.Column("gone", sa.Float()))
    op.add_column("host", sa.Column("name", sa.String(), nullable=False, server_default=""))
    op.add_column("host", sa.Column("refuses", sa.String(), nullable=False, server_default="[]"))
    op.add_column("host", sa.Column("gone", sa.Float()))
    with op.batch_alter_table("invite") as invite:
        invite.add_column(sa.Column("volunteer_id", Id))
        invite.create_foreign_key(op.f("fk_invite_volunteer_id_volunteer"), "volunteer", ["volunteer_id"], ["id"])
    reported = sa.text("state = 'reported'")
    op.create_index(
        "ix_replica_reported", "replica", ["volunteer_id"], sqlite_where=reported, postgresql_where=reported
    )
    op.create_table(
        "open_link",
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("per_hour", sa.Integer(), nullable=False),
        sa.Column("per_prefix", sa.Integer(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("revoked", sa.Float()),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_open_link")),
        sa.UniqueConstraint("number", name=op.f("uq_open_link_number")),
    )
    op.create_table(
        "open_use",
        sa.Column("id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["open_link.number"], name=op.f("fk_open_use_number_open_link")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_open_use")),
    )
    op.create_index("ix_open_use_number", "open_use", ["number", "at"])
