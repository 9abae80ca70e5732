"""What the host awaits of a lane: bytes, a descriptor with news, an end that no cancelling may skip."""

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


async def to_its_end(task: asyncio.Task[None]) -> None:
    """Wait until `task` is done, however often this wait is cancelled: nothing of a box outlives its program."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)
