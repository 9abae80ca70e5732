"""Where objects lie: the interface of both stores, and the address that chooses one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from dsage.errors import UsageError

CHUNK_BYTES: Final = 256 << 10
"""What is read from a store at a time."""
_SHAPE: Final = "It looks like /srv/blobs, or s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object as its store lists it; `written` is in Unix seconds, by the store's own clock."""

    name: str
    written: float


class BlobStore(Protocol):
    """Named objects, each written once. Every method raises Busy while the store is away."""

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Write an object: durable and whole on return, not there at all if `chunks` raises. Raises StorageFull."""

    def open(self, name: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` up to `end`, piece by piece. Raises NotFound."""

    async def size(self, name: str) -> int | None:
        """Return the size of an object in bytes; None if it is not there."""

    async def delete(self, names: Iterable[str]) -> None:
        """Delete objects; one that is not there is no error."""

    def list(self) -> AsyncIterator[list[Stored]]:
        """Yield every object, some at a time."""

    async def room(self, size: int) -> None:
        """Raise StorageFull if `size` more bytes would leave less than the store must keep free."""


def open_store(address: str, server_id: str, *, min_free_bytes: int) -> BlobStore:
    """Return a server's own part of the store at a directory or an s3:// address. Raises UsageError for any other.

    A server deletes what it does not know, so each keeps to a folder, or prefix, of its own name.
    """
    from dsage_server.blobs.directory import DirectoryStore

    if "://" not in address:
        return DirectoryStore(Path(address, server_id), min_free_bytes=min_free_bytes)
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.fragment:
        raise UsageError(f"{address!r} is not where blobs can be kept", hint=_SHAPE)
    if set(options) - {"endpoint", "region"}:
        unknown = ", ".join(sorted(set(options) - {"endpoint", "region"}))
        raise UsageError(f"an s3:// address takes no {unknown}; keys come from the environment", hint=_SHAPE)
    from dsage_server.blobs.s3 import S3Objects

    return S3Objects(parts.netloc, f"{parts.path.strip('/')}/{server_id}".strip("/"), **options)
