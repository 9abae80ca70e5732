"""By what volunteers join, and who may be the same person."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, false

from dsage_server.store.schema.base import Id, metadata

invite = Table(
    "invite",
    metadata,
    Column("code_hash", String, primary_key=True),
    Column("uses_left", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("volunteer_id", ForeignKey("volunteer.id")),
    Column("verifiable_only", Boolean, nullable=False, server_default=false()),
    Column("team_id", Id, index=True),
)
"""Codes to join with; one that has a `volunteer_id` takes a further computer into that account. Accounts that are made
by one get its `verifiable_only`. One that has a `team_id` takes volunteers into that team."""

kin = Table(
    "kin",
    metadata,
    Column("volunteer_id", ForeignKey("volunteer.id"), primary_key=True),
    Column("word", String, primary_key=True),
    Index("ix_kin_word", "word"),
)
"""What strangers share with others who may be the same person, in words (kinship.py)."""

open_link = Table(
    "open_link",
    metadata,
    Column("code_hash", String, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("per_hour", Integer, nullable=False),
    Column("per_prefix", Integer, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("revoked", Float),
    Column("verifiable_only", Boolean, nullable=False, server_default=false()),
)
"""Links that anybody may use: how many accounts an hour in all and from one address prefix, and how many there were."""

open_use = Table(
    "open_use",
    metadata,
    Column("id", Id, primary_key=True),
    Column("number", ForeignKey("open_link.number"), nullable=False),
    Column("prefix", String, nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_open_use_number", "number", "at"),
)
"""Who joined by them within the last hour; `prefix` is a keyed hash of the network that they came from."""
