"""`python -m dsage_server.hosting FD`: the hosting process, started by `dsage serve` with its end of a socket."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys

import msgspec

from dsage_server.hosting.house import House
from dsage_server.hosting.lines import MAX_LINE_BYTES, Greeting, Host, Line


async def _hosting(end: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=MAX_LINE_BYTES)
    first = await reader.readline()
    if first:
        greeting = msgspec.json.decode(first, type=Greeting)
        await House(greeting, Line[Host](Host, reader, writer)).serve()
    writer.close()


def main(end: int) -> None:
    """Serve the server at the other end of this socket until it is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_hosting(socket.socket(fileno=end)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
