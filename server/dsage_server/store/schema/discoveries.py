"""What was found."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, String, Table, UniqueConstraint, false, text

from dsage_server.store.schema.base import Id, metadata

discovery = Table(
    "discovery",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("unit_id", Id, nullable=False, index=True),
    Column("title", String, nullable=False),
    Column("facts", String, nullable=False),
    Column("check_line", String, nullable=False),
    Column("state", String, nullable=False),
    Column("step", Id),
    Column("declared", Float, nullable=False),
    Column("confirmed", Float),
    Column("published", Float),
    Column("proven", Boolean, nullable=False, server_default=false()),
    Column("people", String, nullable=False, server_default="[]"),
    Column("reason", String, nullable=False, server_default=""),
    Column("correction", String, nullable=False, server_default=""),
    UniqueConstraint("run_id", "unit_id", "title"),
    Index(
        "ix_discovery_candidate",
        "id",
        sqlite_where=text("state = 'candidate'"),
        postgresql_where=text("state = 'candidate'"),
    ),
    Index(
        "ix_discovery_published",
        "published",
        sqlite_where=text("published IS NOT NULL"),
        postgresql_where=text("published IS NOT NULL"),
    ),
)
"""What authors declared of their units' answers (store/discoveries.py). `step` is the step that declared it; null: it
was taken back. `facts` is JSON; `people` a JSON list of the volunteers whose answers held it, the finder first.
`published` is when it first was; `correction` says why it does not hold any more, or not as it was."""
