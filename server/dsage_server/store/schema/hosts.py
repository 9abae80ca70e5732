"""Volunteers' computers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, LargeBinary, String, Table

from dsage_server.store.schema.base import Id, metadata

host = Table(
    "host",
    metadata,
    Column("id", Id, primary_key=True),
    Column("volunteer_id", ForeignKey("volunteer.id"), nullable=False, index=True),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("client", String, nullable=False, server_default=""),
    Column("platform", String, nullable=False, server_default=""),
    Column("cores", Id, nullable=False, server_default="0"),
    Column("memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("sandbox", String, nullable=False, server_default=""),
    Column("last_seen", Float, index=True),
    Column("created", Float, nullable=False),
    Column("disk_bytes", BigInteger, nullable=False, server_default="0"),
    Column("offers", String, nullable=False, server_default="[]"),
    Column("tags", String, nullable=False, server_default="[]"),
    Column("record", String, nullable=False, server_default=""),
    Column("features", String, nullable=False, server_default="[]"),
    Column("name", String, nullable=False, server_default=""),
    Column("refuses", String, nullable=False, server_default="[]"),
    Column("gone", Float),
)
"""`offers` (Python packages), `tags`, `features` and `refuses` (projects) are JSON lists. `record` is the scheduler's
HostRecord as JSON, `name` what its owner calls it, `gone` when it left."""
