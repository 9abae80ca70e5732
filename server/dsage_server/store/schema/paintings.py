"""What is kept of pictures that units painted, once these have left the tables."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, Table

from dsage_server.store.schema.base import Id, metadata

painting = Table(
    "painting",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("png", LargeBinary, nullable=False),
)
"""The pictures of archived runs (store/paintings.py); the file may have fewer pixels than `width` x `height`."""

painted_tile = Table(
    "painted_tile",
    metadata,
    Column("run_id", ForeignKey("painting.run_id"), primary_key=True),
    Column("unit_id", Id, primary_key=True, autoincrement=False),
    Column("volunteer_id", ForeignKey("volunteer.id"), nullable=False),
    Column("x", Integer, nullable=False),
    Column("y", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Index("ix_painted_tile_volunteer", "volunteer_id", "run_id"),
)
"""Who painted which part of them."""
