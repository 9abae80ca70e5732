"""What a client tells its owner: one plain sentence per event, or one JSON line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, TypeAlias

import msgspec

SCHEMA = "dsage.join/1"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: `kind` is a fixed word, `text` a sentence, `data` its numbers and names."""

    kind: str
    text: str
    data: dict[str, Any] = {}


Tell: TypeAlias = Callable[[Event], None]


def plain(stream: TextIO | None = None) -> Tell:
    """Return a teller that writes `HH:MM:SS sentence` lines, to standard error unless told otherwise.

    What a server or an app put into a sentence cannot move the cursor or begin a line of its own. Where nobody listens
    any more, or the disk that takes the lines is full, they are lost; the client's own log is another matter.
    """

    def tell(event: Event) -> None:
        out = sys.stderr if stream is None else stream
        sentence = "".join(c if c.isprintable() else " " for c in event.text)
        with suppress(OSError):
            out.write(f"{time.strftime('%H:%M:%S')} {sentence}\n")
            out.flush()

    return tell


def json_lines(stream: TextIO | None = None) -> Tell:
    """Return a teller that writes one JSON document per line, to standard output unless told otherwise."""

    def tell(event: Event) -> None:
        out = sys.stdout if stream is None else stream
        line = {"schema": SCHEMA, "at": time.time(), "kind": event.kind, "text": event.text, "data": event.data}
        with suppress(OSError):
            out.write(msgspec.json.encode(line).decode() + "\n")
            out.flush()

    return tell


def at_clock(now: float, delay_s: float) -> str:
    """Return the local time of day, for people, `delay_s` seconds after `now` (Unix seconds)."""
    return time.strftime("%H:%M:%S", time.localtime(now + delay_s))
