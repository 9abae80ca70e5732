"""Visitors of the site: logins, passkeys, consents; what operators announce and do; researchers' tokens"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("volunteer", sa.Column("country", sa.String(), nullable=False, server_default=""))
    op.add_column("volunteer", sa.Column("devices", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "web_session",
        sa.Column("id", number, primary_key=True),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.UniqueConstraint("token_hash", name=op.f("uq_web_session_token_hash")),
    )
    op.create_index("ix_web_session_expires", "web_session", ["expires"])
    op.create_index("ix_web_session_subject", "web_session", ["role", "subject"])
    op.create_table(
        "web_link",
        sa.Column("code_hash", sa.String(), primary_key=True),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
    )
    op.create_index("ix_web_link_expires", "web_link", ["expires"])
    op.create_table(
        "passkey",
        sa.Column("id", number, primary_key=True),
        sa.Column("volunteer_id", number, nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("used", sa.Float()),
        sa.ForeignKeyConstraint(["volunteer_id"], ["volunteer.id"], name=op.f("fk_passkey_volunteer_id")),
        sa.UniqueConstraint("credential", name=op.f("uq_passkey_credential")),
    )
    op.create_index("ix_passkey_volunteer_id", "passkey", ["volunteer_id"])
    op.create_table(
        "recovery",
        sa.Column("volunteer_id", number, primary_key=True),
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["volunteer_id"], ["volunteer.id"], name=op.f("fk_recovery_volunteer_id")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_recovery_code_hash")),
    )
    op.create_table(
        "consent",
        sa.Column("id", number, primary_key=True),
        sa.Column("volunteer_id", number, nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("said", sa.String(), nullable=False, server_default=""),
    )
    op.create_index("ix_consent_volunteer", "consent", ["volunteer_id", "id"])
    op.create_table(
        "announcement",
        sa.Column("id", number, primary_key=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("maintenance", sa.Boolean(), nullable=False),
        sa.Column("begins", sa.Float(), nullable=False),
        sa.Column("ends", sa.Float()),
        sa.Column("created", sa.Float(), nullable=False),
    )
    op.create_table(
        "deed",
        sa.Column("id", number, primary_key=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False, server_default=""),
    )
    op.create_table(
        "api_token",
        sa.Column("id", number, primary_key=True),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("researcher", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("used", sa.Float()),
        sa.Column("revoked", sa.Float()),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
    )
    op.create_index("ix_api_token_researcher", "api_token", ["researcher"])
