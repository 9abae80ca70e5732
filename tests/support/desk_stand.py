"""A stand-in agent: speaks the words of the door over a real unix socket, and does what its test says.

async with Stand(folder) as stand:
    stand.change(reason=Reason.PAUSED, sentence="Paused by you", paused=True)
    ask = await stand.heard("pause")
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from dsage.errors import DSageError
from dsage.files import write_whole
from dsage_client.door.desk import DOOR
from dsage_client.door.words import MAX_LINE, Ask, Done, Reply, Status
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason, Work

PAGE = "http://127.0.0.1:9/?token=once"
LINK = "dsage://127.0.0.1:9/#link"


def idle_status(**fields: Any) -> Status:
    """Return the status of an agent that computes, with some fields replaced."""
    usual: dict[str, Any] = {
        "at": time.time(),
        "version": "0.1.0",
        "pid": os.getpid(),
        "work": Work.RUN,
        "reason": Reason.WORKING,
        "sentence": "Computing: Factors of 2^1277-1",
    }
    return Status(**usual | fields)


class Stand:
    """An agent without work. `asks` is all it was asked, in order; `refuses` maps a wish to the error it gets."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.folder = folder
        self.status = idle_status(**fields)
        self.asks: list[Ask] = []
        self.refuses: dict[str, DSageError] = {}
        self.preferences = Preferences()
        self.lines: list[str] = ["The agent has started."]
        self.ended: list[Done] = []
        self.stopped = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._followers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Stand:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen, and write `status.json`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / DOOR).unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.folder / DOOR), limit=MAX_LINE)
        (self.folder / DOOR).chmod(0o600)
        self._write()

    async def close(self) -> None:
        """Hang up on everybody, as an agent that ends; `open` begins again."""
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        await self._server.wait_closed()
        self._server = None
        (self.folder / DOOR).unlink(missing_ok=True)
        (self.folder / "status.json").unlink(missing_ok=True)

    def change(self, **fields: Any) -> Status:
        """Replace fields of the status, and tell all who follow it."""
        self.status = msgspec.structs.replace(self.status, at=time.time(), **fields)
        self._write()
        for writer in tuple(self._followers):
            self._send(writer, Reply(data=self.status))
        return self.status

    async def heard(self, do: str, *, more_than: int = 0, within_s: float = 30) -> Ask:
        """Wait until it was asked `do` more than so many times; return the newest of these wishes."""
        await self._until(lambda: len(self._wishes(do)) > more_than, within_s)
        return self._wishes(do)[-1]

    async def followed(self, *, within_s: float = 30) -> None:
        """Wait until somebody follows the status."""
        await self._until(lambda: bool(self._followers), within_s)

    async def _until(self, true: Callable[[], bool], within_s: float) -> None:
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(true)

    def _wishes(self, do: str) -> list[Ask]:
        return [ask for ask in self.asks if ask.do == do]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                ask = msgspec.json.decode(line, type=Ask)
                self.asks.append(ask)
                self._send(writer, self._answer(ask))
                if ask.do == "follow":
                    self._followers.add(writer)
                async with self._changed:
                    self._changed.notify_all()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            self._followers.discard(writer)
            writer.close()

    def _answer(self, ask: Ask) -> Reply:
        if error := self.refuses.get(ask.do):
            return Reply(code=error.code, message=str(error), hint=error.hint or "")
        match ask.do:
            case "pause":
                self.change(work=Work.HOLD, reason=Reason.PAUSED, sentence="Paused by you", paused=True)
            case "resume":
                self.change(work=Work.RUN, reason=Reason.WORKING, sentence="Computing", paused=False, finishing=False)
            case "finish":
                self.change(work=Work.FINISH, reason=Reason.FINISHING, sentence="Finishing", finishing=True)
            case "present":
                self.status = msgspec.structs.replace(self.status, presence=ask.presence)
                return Reply()
            case "prefer":
                self.preferences = self.preferences.changed(ask.changes)
                return Reply(data=self.preferences)
            case "stop":
                self.stopped.set()
                return Reply()
        others: dict[str, Any] = {
            "preferences": self.preferences,
            "log": self.lines[-ask.most :],
            "done": self.ended[: ask.most],
            "link": LINK,
            "manager": PAGE,
        }
        return Reply(data=others.get(ask.do, self.status))

    def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        writer.write(msgspec.json.encode(reply) + b"\n")

    def _write(self) -> None:
        write_whole(self.folder / "status.json", msgspec.json.encode(self.status), private=True, durable=False)
