"""A way to a server that can be cut like a network: nothing comes through any more, and nobody is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dsage.background import Background

PIECE = 1 << 16


class Hole:
    """A TCP proxy on this computer to `target` (a port). While it is closed, connections stay up, as dead as in a
    network that swallows every packet; opened again, it passes on what waited."""

    def __init__(self) -> None:
        self.target = 0
        self._open = asyncio.Event()
        self._open.set()
        self._background = Background("hole")
        self._server = self._background.call(asyncio.start_server(self._carried, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Let nothing through."""
        self._background.soon(self._open.clear)

    def mend(self) -> None:
        """Let everything through again."""
        self._background.soon(self._open.set)

    def close(self) -> None:
        """Be gone."""
        self._background.soon(self._server.close)
        self._background.close()

    async def _carried(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._passed(reader, back))
                both.create_task(self._passed(there, writer))

    async def _passed(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                await self._open.wait()
                sink.write(piece)
                await sink.drain()
        sink.close()
