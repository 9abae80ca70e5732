"""Who is logged in, and by what."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, LargeBinary, String, Table

from dsage_server.store.schema.base import Id, metadata

used_challenge = Table(
    "used_challenge",
    metadata,
    Column("challenge", LargeBinary, primary_key=True),
    Column("expires", Float, nullable=False, index=True),
)

web_session = Table(
    "web_session",
    metadata,
    Column("id", Id, primary_key=True),
    Column("token_hash", String, nullable=False, unique=True),
    Column("role", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("how", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Index("ix_web_session_subject", "role", "subject"),
)
"""Browsers that are logged in (visits.py says as whom). What they hold is a token; here is its hash only."""

web_link = Table(
    "web_link",
    metadata,
    Column("code_hash", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("expires", Float, nullable=False, index=True),
)
"""Links that log one browser in, once, within a minute."""

passkey = Table(
    "passkey",
    metadata,
    Column("id", Id, primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), nullable=False, index=True),
    Column("credential", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float),
)
"""By what volunteers log in besides links: public keys, under the names that their owners gave them."""

recovery = Table(
    "recovery",
    metadata,
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("code_hash", String, nullable=False, unique=True),
    Column("created", Float, nullable=False),
)
"""Codes that log a volunteer in once, when all else is lost; here is their hash only."""
