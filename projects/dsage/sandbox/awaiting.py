"""What the host awaits of a lane: bytes, a descriptor with news."""

from __future__ import annotations

import asyncio
import socket

from dsage.sandbox import frames


async def exactly(channel: socket.socket, length: int) -> bytes | None:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < length:
        try:
            part = await loop.sock_recv(channel, min(frames.CHUNK, length - len(data)))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)
