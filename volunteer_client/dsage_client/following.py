"""What a client last said of itself, for those who follow it and for the status file."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec

from dsage.files import write_whole
from dsage_client.door.words import Status
from dsage_client.events import Event, Tell
from dsage_client.guest.reasons import Work
from dsage_client.words import _


class Followed:
    """The status that was published last, kept in a file too; the owner is told of what changed in it."""

    def __init__(self, file: Path, tell: Tell) -> None:
        self._file = file
        self._tell = tell
        self._said: Status | None = None
        self._told = asyncio.Event()

    @property
    def said(self) -> Status:
        """What was published last; something was."""
        assert self._said is not None
        return self._said

    async def next(self) -> Status:
        """Wait for the next change, and return the status then."""
        await self._told.wait()
        return self.said

    def publish(self, status: Status) -> None:
        """Tell followers, and write the file, if something has changed besides the time."""
        if self._said is not None and msgspec.structs.replace(self._said, at=status.at) == status:
            return
        before, self._said = self._said, status
        if before is not None and status.work is not Work.RUN and status.sentence != before.sentence:
            self._tell(Event(kind="standing", text=status.sentence, data={"reason": status.reason}))
        elif before is not None and status.work is Work.RUN is not before.work:
            self._tell(Event(kind="standing", text=_("Computing goes on"), data={"reason": status.reason}))
        told, self._told = self._told, asyncio.Event()
        told.set()
        with suppress(OSError):
            write_whole(self._file, msgspec.json.encode(status), private=True, durable=False)
