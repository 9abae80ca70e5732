"""The paths of blobs: fetched whole or in part, sent in pieces that may break off and go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from dsage.blobs import OFFSET_HEADER, UploadStart, UploadState
from dsage.errors import Busy, Conflict, LoggedOut, NotAllowed, NotFound, QuotaExceeded, UsageError, WrongRange
from dsage_server.api import problems
from dsage_server.api.declared import HOST, IN_PARTS, OF_PARTS, RESEARCHER, call
from dsage_server.api.http import body, reply
from dsage_server.blobs.library import Blobs
from dsage_server.blobs.ranges import Unsatisfiable, parse
from dsage_server.blobs.uploads import Uploads
from dsage_server.sessions import Session

log = logging.getLogger(__name__)

LENGTH_HEADER: Final = "Upload-Length"
OF_PIECE: Final = {OFFSET_HEADER: "At which byte of the blob this piece begins."}
MAX_START_BYTES: Final = 1 << 10
WRITE_S: Final = 60.0
"""A reader that takes nothing for so long is let go; it may go on with a Range."""
CHUNK_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobApi:
    """The handlers. Hosts and researchers fetch; researchers send."""

    blobs: Blobs
    uploads: Uploads
    who: Callable[[web.Request, str], Session]
    """Return the session of a request in a role. Raises LoggedOut or NotAllowed."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes; those of GET answer HEAD too."""
        return [
            web.get("/v1/blobs/{hash}", self.get),
            web.post("/v1/blobs/{hash}/uploads", self.begin),
            web.head("/v1/blobs/{hash}/uploads", self.state),
            web.patch("/v1/blobs/{hash}/uploads", self.append),
            web.delete("/v1/blobs/{hash}/uploads", self.abandon),
        ]

    @call(gives=bytes, auth=(*HOST, *RESEARCHER), scope="read", also=IN_PARTS, headers=OF_PARTS, errors=(WrongRange,))
    async def get(self, request: web.Request) -> web.StreamResponse:
        """A blob, or a part of it."""
        try:
            self.who(request, "host")
        except LoggedOut:
            raise
        except NotAllowed:
            self.who(request, "researcher")
        return await send(request, self.blobs, request.match_info["hash"])

    @call(takes=UploadStart, gives=UploadState, auth=RESEARCHER, scope="write", errors=(QuotaExceeded, Conflict))
    async def begin(self, request: web.Request) -> web.Response:
        """Open an upload, or say how far it has come."""
        owner = self.who(request, "researcher").key
        start = await body(request, UploadStart, MAX_START_BYTES)
        return reply(await self.uploads.begin(request.match_info["hash"], owner, start.bytes))

    @call(status=200, auth=RESEARCHER, scope="write")
    async def state(self, request: web.Request) -> web.Response:
        """How far an open upload has come."""
        state = await self.uploads.state(request.match_info["hash"], self.who(request, "researcher").key)
        headers = {OFFSET_HEADER: str(state.received), LENGTH_HEADER: str(state.bytes), "Cache-Control": "no-store"}
        return web.Response(headers=headers)

    @call(takes=bytes, gives=UploadState, auth=RESEARCHER, scope="write", headers=OF_PIECE, errors=(Conflict,))
    async def append(self, request: web.Request) -> web.Response:
        """Take the next bytes of an upload."""
        owner = self.who(request, "researcher").key
        offset = request.headers.get(OFFSET_HEADER, "")
        if not (offset.isascii() and offset.isdigit() and len(offset) <= 18):
            raise UsageError(
                f"the header {OFFSET_HEADER} must say at which byte this piece begins, not {offset[:40]!r}"
            )
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise UsageError("a compressed body; bodies are taken as they are here")
        return reply(await self.uploads.append(request.match_info["hash"], owner, int(offset), _chunks(request)))

    @call(auth=RESEARCHER, scope="write")
    async def abandon(self, request: web.Request) -> web.Response:
        """Forget an open upload."""
        await self.uploads.abandon(request.match_info["hash"], self.who(request, "researcher").key)
        return web.Response(status=204)


async def send(request: web.Request, blobs: Blobs, sha256: str) -> web.StreamResponse:
    """Answer GET or HEAD with a blob: Range, If-Range and If-None-Match hold, and memory is bounded."""
    blob = await blobs.find(sha256)
    tag = f'"{sha256}"'
    response = web.StreamResponse(
        headers={
            "ETag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream",
            "Cache-Control": "private, max-age=31536000, immutable",
        }
    )  # fmt: skip
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers={"ETag": tag})
    start, end = 0, blob.size
    try:
        part = parse(request.headers.get("Range"), blob.size) if request.headers.get("If-Range", tag) == tag else None
    except Unsatisfiable:
        refused = problems.answer(WrongRange(f"the whole is {blob.size} bytes"), request.path)
        refused.headers["Content-Range"] = f"bytes */{blob.size}"
        return refused
    if part is not None:
        start, end = part
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    response.content_length = end - start
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    return await _streamed(request, response, blobs.open(blob, start, end))


async def _streamed(
    request: web.Request, response: web.StreamResponse, chunks: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Send chunks as fast as the reader takes them; a store that fails before the first one is still an error."""
    async with aclosing(chunks):
        first = await anext(chunks, b"")
        await response.prepare(request)
        try:
            await _written(response, first)
            async for chunk in chunks:
                await _written(response, chunk)
        except (TimeoutError, Busy, NotFound) as error:
            log.info("a blob broke off: %s", str(error) or "nobody took it")
            if request.transport is not None:
                request.transport.abort()
    return response


async def _written(response: web.StreamResponse, chunk: bytes) -> None:
    for at in range(0, len(chunk), CHUNK_BYTES):
        async with asyncio.timeout(WRITE_S):
            await response.write(chunk[at : at + CHUNK_BYTES])


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_chunked(CHUNK_BYTES):
        yield chunk
