"""What happened."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, String, Table, text

from dsage_server.store.schema.base import Id, metadata, worded

NEWS = ("approved", "cancelled", "corrected", "correction", "discovery", "done", "failed", "submitted")
"""Kinds of events that visitors of the front page may care about: of runs and discoveries, never of units."""
_news = text(worded("kind", NEWS))

event = Table(
    "event",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", ForeignKey("run.id")),
    Column("unit_id", Id),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", String, nullable=False),
    Index("ix_event_run", "run_id", "id"),
    Index(
        "ix_event_of_run",
        "run_id",
        "id",
        sqlite_where=text("unit_id IS NULL"),
        postgresql_where=text("unit_id IS NULL"),
    ),
    Index("ix_event_news", "id", sqlite_where=_news, postgresql_where=_news),
    Index(
        "ix_event_unit",
        "unit_id",
        "id",
        sqlite_where=text("unit_id IS NOT NULL"),
        postgresql_where=text("unit_id IS NOT NULL"),
    ),
)
