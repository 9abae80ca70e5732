"""Objects in an S3-compatible store, through obstore (the object_store library of Apache Arrow, in Rust)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from dsage.errors import Busy, NotFound
from dsage_server.blobs.objects import CHUNK_BYTES, Stored

PART_BYTES: Final = 8 << 20
"""Of a multipart upload: S3 takes at most 10,000 parts, so this allows objects of 80 GiB."""
PARTS_AT_ONCE: Final = 2
CONNECT: Final = timedelta(seconds=5)
SILENCE: Final = timedelta(seconds=20)
WHOLE: Final = timedelta(hours=1)
"""One request, with its body; silence ends it much sooner."""
RETRIES: Final = 2
RETRY_FOR: Final = timedelta(seconds=10)


class S3Objects:
    """A bucket, or what lies below a prefix in it.

    Keys come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for passing ones,
    AWS_SESSION_TOKEN. An upload that the server dies in leaves parts that nobody sees; a lifecycle rule of the
    bucket (abort incomplete multipart uploads) removes them.
    """

    def __init__(self, bucket: str, prefix: str = "", *, endpoint: str = "", region: str = "us-east-1") -> None:
        config = {"region": region} | ({"endpoint": endpoint} if endpoint else {})
        self._where = f"s3://{bucket}" + (f" at {endpoint}" if endpoint else "")
        self._bucket = S3Store(
            bucket,
            prefix=prefix or None,
            config=config,  # type: ignore[arg-type]  # a TypedDict of these very keys
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": CONNECT,
                "read_timeout": SILENCE,
                "timeout": WHOLE,
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
        )

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Upload an object, in parts if it is large; parts become visible together, at the end."""
        head = bytearray()
        async for chunk in chunks:
            head += chunk
            if len(head) > PART_BYTES:
                break
        else:
            with self._told():
                await obstore.put_async(self._bucket, name, bytes(head), use_multipart=False)
            return
        with self._told():
            await obstore.put_async(
                self._bucket, name, _chained(bytes(head), chunks), chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            )

    async def open(self, name: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield a range of an object as it comes."""
        if start >= end:
            return
        with self._told():
            found = await obstore.get_async(self._bucket, name, options={"range": (start, end)})
            stream = aiter(found.stream(min_chunk_size=CHUNK_BYTES))
        while True:
            with self._told():
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield bytes(chunk)

    async def size(self, name: str) -> int | None:
        """Ask for the object's head."""
        try:
            with self._told():
                return (await obstore.head_async(self._bucket, name))["size"]
        except NotFound:
            return None

    async def delete(self, names: Iterable[str]) -> None:
        """Delete objects, up to a thousand with one request."""
        if wanted := list(names):
            with self._told():
                await obstore.delete_async(self._bucket, wanted)

    async def list(self) -> AsyncIterator[list[Stored]]:
        """List the bucket, a thousand objects at a time."""
        stream = aiter(obstore.list(self._bucket, chunk_size=1000))
        while True:
            with self._told():
                found = await anext(stream, None)
            if found is None:
                return
            yield [Stored(name=entry["path"], written=entry["last_modified"].timestamp()) for entry in found]

    async def room(self, size: int) -> None:
        """A bucket has no bounds that it tells of."""

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in our words what the library reports; an error of the caller's own iterator passes through."""
        try:
            yield
        except FileNotFoundError:
            raise NotFound("there is no such object") from None
        except (BaseError, PermissionError) as error:
            raise Busy(
                f"the blob store {self._where} failed: {str(error)[:300]}",
                hint="Try again later; if it lasts, the operator should look at the store and its keys.",
            ) from error


async def _chained(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
