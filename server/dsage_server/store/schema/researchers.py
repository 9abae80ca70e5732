"""What researchers may have, ask for and let their programs do."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, LargeBinary, String, Table

from dsage_server.store.schema.base import Id, metadata

quota = Table(
    "quota",
    metadata,
    Column("researcher", LargeBinary, primary_key=True),
    Column("runs", BigInteger),
    Column("open_units", BigInteger),
    Column("blob_bytes", BigInteger),
)
"""What one researcher's key may have at a time, where it is not what the server's settings say."""

api_token = Table(
    "api_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("token_hash", String, nullable=False, unique=True),
    Column("researcher", LargeBinary, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("used", Float),
    Column("revoked", Float),
)
"""Tokens that researchers made for their programs: `scope` is "read" or "write"."""

request = Table(
    "request",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("projects", String, nullable=False),
    Column("words", String, nullable=False),
    Column("made", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("decided", Float),
    Column("answer", String, nullable=False, server_default=""),
)
"""What people ask the operator to sign: that their code `key` is certified under a `name` for `projects` (a JSON list).
The `state` is waiting, approved or refused."""
