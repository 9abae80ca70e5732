"""Teams, links into them, and who is in the files for statistics sites"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "team",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("name_key", sa.String(), nullable=False),
        sa.Column("founder_id", Id),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("gone", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team")),
        sa.UniqueConstraint("name_key", name=op.f("uq_team_name_key")),
    )
    for column in (
        sa.Column("team_id", Id),
        sa.Column("team_since", sa.Float()),
        sa.Column("exported", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("withdrawn", sa.Float()),
    ):
        op.add_column("volunteer", column)
    for name, key in (("team", "team_id"), ("withdrawn", "withdrawn")):
        there = sa.text(f"{key} IS NOT NULL")
        op.create_index(f"ix_volunteer_{name}", "volunteer", [key], sqlite_where=there, postgresql_where=there)
    op.add_column("invite", sa.Column("team_id", Id))
    op.create_index("ix_invite_team_id", "invite", ["team_id"])
