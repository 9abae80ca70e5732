"""What the server and its hosting process say to each other: a line of JSON each, over an inherited socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

import msgspec

MAX_LINE_BYTES: Final = 64 << 10
MAX_REASON: Final = 500
"""Characters of a reason: for an event, or a run's page."""


class Greeting(msgspec.Struct, frozen=True, kw_only=True, tag="greeting"):
    """The server's first line: where its machine API is, the sandbox's level, a folder to work in."""

    link: str
    level: str
    folder: str


class Host(msgspec.Struct, frozen=True, kw_only=True, tag="host"):
    """Drive a run, or go on with a new token; `authorisation` names the document that allows the run."""

    run: int
    token: str
    authorisation: str


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag="renew"):
    """A run's token has run out."""

    run: int


class Left(msgspec.Struct, frozen=True, kw_only=True, tag="left"):
    """A run is driven no more: it ended or has another driver or, with a `reason`, it cannot be hosted."""

    run: int
    reason: str = ""


Heard = TypeVar("Heard")


class Line(Generic[Heard]):
    """One end of the socket. `kinds` is what the other end may say."""

    def __init__(self, kinds: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._decoder: msgspec.json.Decoder[Heard] = msgspec.json.Decoder(kinds)
        self._reader = reader
        self._writer = writer

    async def heard(self) -> AsyncIterator[Heard]:
        """Yield what the other end says until it is gone. Raises msgspec.DecodeError for anything else."""
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError):
                return
            if not line.endswith(b"\n"):
                return
            yield self._decoder.decode(line)

    def say(self, what: msgspec.Struct) -> None:
        """Say something; to an end that is gone it is lost."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(what) + b"\n")

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
