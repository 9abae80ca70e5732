"""The generator's own HTTP: replies in pieces, several in a row, and what it refuses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from fleet.line import Line, field

from dsage.errors import ServerAway, TooLarge
from dsage.trust import tls


class Server:
    """Answers each request with the next list of pieces; an empty list hangs up."""

    def __init__(self) -> None:
        self.replies: list[list[bytes]] = []
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            self.heard.append(head + await reader.readexactly(int(field(head, b"content-length"))))
            pieces = self.replies.pop(0)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if not pieces:
                writer.transport.abort()
                return


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Server, Line]]:
    tls.make_authority(tmp_path)
    tls.make_leaf(tmp_path, ["localhost"])
    pem = (tmp_path / "ca.pem").read_bytes()
    made = Server()
    serving: set[asyncio.Task[None]] = set()

    def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(made.serve(reader, writer)))

    listening = await asyncio.start_server(come, "localhost", 0, ssl=tls.server_context(tmp_path))
    port = listening.sockets[0].getsockname()[1]
    line = await Line.open(f"https://localhost:{port}", tls.pinned_context(pem, tls.spki_hash(pem)))
    yield made, line
    line.cut()
    await asyncio.gather(*serving, return_exceptions=True)
    listening.close()
    await listening.wait_closed()


def reply(body: bytes, *, status: str = "200 OK", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b" % (status.encode(), len(body), more, body)


async def test_replies_in_pieces_and_one_after_the_other(server: tuple[Server, Line]) -> None:
    there, line = server
    whole = reply(b"x" * 100_000)
    there.replies = [[whole[:20], whole[20:70], whole[70:]], [reply(b"")]]
    assert await line.post(b"/a", b"one") == (200, b"x" * 100_000)
    line.authorise("secret")
    assert await line.post(b"/b", b"") == (200, b"")
    assert there.heard[0].startswith(b"post /a http/1.1\r\n")
    assert there.heard[0].endswith(b"\r\n\r\none")
    assert b"authorization: bearer secret" in there.heard[1]
    assert b"dsage-protocol: 1\r\n" in there.heard[1]


async def test_a_refusal_with_the_time_to_stay_away(server: tuple[Server, Line]) -> None:
    there, line = server
    there.replies = [[reply(b"{}", status="503 Busy", more=b"Retry-After: 7\r\n")]]
    assert await line.post(b"/a", b"") == (503, b"{}")
    assert line.retry_s == 7.0


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"x" * 20_000,
    ],
)
async def test_what_is_no_plain_reply_is_refused(server: tuple[Server, Line], head: bytes) -> None:
    there, line = server
    there.replies = [[head]]
    with pytest.raises(TooLarge):
        await line.post(b"/a", b"")


async def test_a_connection_that_ends(server: tuple[Server, Line]) -> None:
    there, line = server
    there.replies = [[]]
    with pytest.raises(ServerAway):
        await line.post(b"/a", b"")
    with pytest.raises(ServerAway):
        await line.post(b"/a", b"")
    with pytest.raises(ServerAway):
        await line.quiet(60.0)


async def test_a_quiet_line_notices_its_end(server: tuple[Server, Line]) -> None:
    _, line = server
    await line.quiet(0.001)
    quiet = asyncio.ensure_future(line.quiet(60.0))
    await asyncio.sleep(0)
    line.cut()
    with pytest.raises(ServerAway):
        await quiet


async def test_another_authority_is_not_trusted(server: tuple[Server, Line]) -> None:
    with pytest.raises(ServerAway, match="no server answers"):
        await Line.open("https://localhost:1", ssl.create_default_context())
