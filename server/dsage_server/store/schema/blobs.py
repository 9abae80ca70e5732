"""Files by their hash."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Integer, LargeBinary, String, Table, UniqueConstraint

from dsage_server.store.schema.base import metadata

blob = Table(
    "blob",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("object", String, nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("last_used", Float, nullable=False, index=True),
)
"""What the blob store holds; `object` is the name of the object there."""

blob_ref = Table(
    "blob_ref",
    metadata,
    Column("sha256", ForeignKey("blob.sha256"), primary_key=True),
    Column("run_id", ForeignKey("run.id"), primary_key=True, index=True),
    Column("kind", String, primary_key=True),
)
"""Which run needs which blob, as what: bundle, input or output. A blob with a row here is never collected."""

blob_sum = Table(
    "blob_sum",
    metadata,
    Column("researcher", LargeBinary, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("bytes", BigInteger, nullable=False),
)
"""The bytes of the blobs that a researcher's runs need, each blob once, in slots as `tally`."""

blob_upload = Table(
    "blob_upload",
    metadata,
    Column("id", String, primary_key=True),
    Column("sha256", String, nullable=False),
    Column("owner", LargeBinary, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("pieces", Integer, nullable=False),
    Column("touched", Float, nullable=False, index=True),
    UniqueConstraint("owner", "sha256"),
)
"""Uploads that are under way."""

blob_piece = Table(
    "blob_piece",
    metadata,
    Column("upload_id", ForeignKey("blob_upload.id"), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("bytes", BigInteger, nullable=False),
    Column("object", String, nullable=False, unique=True),
)
