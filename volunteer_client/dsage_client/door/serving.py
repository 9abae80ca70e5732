"""The agent's side of its door: answers each line, and tells followers when the status has changed."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dsage.errors import DSageError, NotAllowed, UsageError
from dsage.files import UNWRITABLE, keeping, unwritten
from dsage.sockets import reachable
from dsage.wire import Privacy, TeamWish
from dsage_client.door.desk import DOOR
from dsage_client.door.owner import Owner
from dsage_client.door.words import MAX_LINE, Ask, Newcomer, Reply
from dsage_client.guest.seen import Presence


class Host(Owner, Protocol):
    """What a door needs of its agent beside what the owner may ask."""

    def attend(self, session: object, presence: Presence | None) -> None:
        """A session says what it knows of its user; None when it has gone."""


@asynccontextmanager
async def opened(folder: Path, host: Host) -> AsyncIterator[None]:
    """Answer at the door of `folder` until the end. The caller holds the folder's lock: an old socket is in the way.

    Raises StorageFull.
    """
    door = folder / DOOR
    door.unlink(missing_ok=True)
    callers: set[asyncio.Task[None]] = set()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        callers.add(task)
        try:
            await _Caller(host, reader, writer).serve()
        finally:
            callers.discard(task)

    mask = os.umask(0o177)
    try:
        with keeping(door), reachable(door) as address:
            server = await asyncio.start_unix_server(met, address, limit=MAX_LINE)
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        with suppress(OSError):  # a disk that has become read-only keeps it; the next agent clears it away
            door.unlink()


class _Caller:
    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._present = False

    async def serve(self) -> None:
        """Answer until the caller goes. What it said of its user goes with it."""
        try:
            if _stranger(self._writer.get_extra_info("socket")):
                await self._send(_refusal(NotAllowed("this agent belongs to another user of this computer")))
                return
            while line := await self._reader.readline():
                await self._answer(line)
        except (OSError, ValueError, asyncio.CancelledError):
            pass
        finally:
            if self._present:
                self._host.attend(self, None)
            self._writer.close()

    async def _answer(self, line: bytes) -> None:
        try:
            ask = msgspec.json.decode(line, type=Ask)
            if ask.do == "follow":
                async for status in self._host.follow():
                    await self._send(Reply(data=status))
                return
            reply = Reply(data=await self._done(ask))
        except msgspec.DecodeError as error:
            reply = _refusal(UsageError(f"this is no wish of this version: {error}"))
        except DSageError as error:
            reply = _refusal(error)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            reply = _refusal(unwritten(error))
        await self._send(reply)

    async def _done(self, ask: Ask) -> Any:
        host = self._host
        match ask.do:
            case "status":
                return await host.status()
            case "pause":
                return await host.pause(ask.what)
            case "resume":
                return await host.resume()
            case "finish":
                return await host.finish()
            case "always":
                return await host.always()
            case "preferences":
                return await host.preferences()
            case "prefer":
                return await host.prefer(ask.changes)
            case "log":
                return await host.log(ask.most)
            case "done":
                return await host.done(ask.most)
            case "present":
                self._present = True
                host.attend(self, ask.presence)
            case "join":
                return await host.join(ask.what, msgspec.convert(ask.changes, Newcomer))
            case "leave":
                return await host.leave(ask.what, erase=ask.changes.get("erase") is True)
            case "link":
                return await host.link(ask.what)
            case "page":
                return await host.page(ask.what)
            case "privacy":
                return await host.privacy(ask.what, msgspec.convert(ask.changes, Privacy))
            case "team":
                return await host.team(ask.what, msgspec.convert(ask.changes, TeamWish) if ask.changes else None)
            case "view":
                await host.view()
            case "screensaver":
                return await host.screensaver(use=ask.changes.get("use") is True)
            case "manager":
                return await host.manager(ask.what)
            case "stop":
                await host.stop()
        return None

    async def _send(self, reply: Reply) -> None:
        self._writer.write(msgspec.json.encode(reply) + b"\n")
        with suppress(ConnectionError):
            await self._writer.drain()


def _refusal(error: DSageError) -> Reply:
    return Reply(code=error.code, message=error.message, hint=error.hint)


def _stranger(sock: socket.socket) -> bool:
    """Say whether a caller is another user. The socket's folder is private already; this is the second lock."""
    if not hasattr(socket, "SO_PEERCRED"):
        return False
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return uid not in (os.geteuid(), 0)
