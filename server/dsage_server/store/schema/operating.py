"""The server itself: its processes, and what its operator says and does."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Integer, String, Table

from dsage_server.store.schema.base import Id, metadata

meta = Table(
    "meta",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)

process = Table(
    "process",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("roles", String, nullable=False),
    Column("started", Float, nullable=False),
    Column("seen", Float, nullable=False),
)
"""Server processes on this database: what one of them claimed is free again when it is not seen any more."""

announcement = Table(
    "announcement",
    metadata,
    Column("id", Id, primary_key=True),
    Column("text", String, nullable=False),
    Column("maintenance", Boolean, nullable=False),
    Column("begins", Float, nullable=False),
    Column("ends", Float),
    Column("created", Float, nullable=False),
)
"""What the operator tells all visitors; while one of `maintenance` holds, no work is given out."""

deed = Table(
    "deed",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Float, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("about", String, nullable=False),
    Column("detail", String, nullable=False, server_default=""),
)
"""The audit log: what operators and researchers did (approved, paused, cancelled, recalibrated, reversed)."""
