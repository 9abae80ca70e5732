"""What happened: the log that the owner reads, and the units that ended here last."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from dsage_client.door.words import Done
from dsage_client.events import Event

MAX_LOG: Final = 1 << 20
"""A log of this many bytes is put aside, and the one put aside before is dropped."""
KEPT: Final = 500
"""Units of which the end is remembered."""
ENDS: Final = {"finished": "done", "failed": "failed", "returned": "returned", "aborted": "aborted"}


class Chronicle:
    """Writes the log of a client and remembers its units. A full disk costs lines of the log, nothing else."""

    def __init__(self, log: Path, done: Path) -> None:
        self._log = log
        self._done = done
        self._titles: dict[tuple[str, int], tuple[str, str]] = {}
        self._ended: deque[Done] = deque(_remembered(done), KEPT)

    def heard(self, event: Event, server: str = "") -> None:
        """Note an event of the client, or of its part for one server."""
        unit = event.data.get("unit")
        if isinstance(unit, int):
            self._note(event, server, unit)
        sentence = "".join(c if c.isprintable() else " " for c in event.text)
        with suppress(OSError):
            if self._log.exists() and self._log.stat().st_size > MAX_LOG:
                self._log.replace(self._log.with_suffix(".1"))
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")

    def lines(self, most: int) -> list[str]:
        """Return the last lines of the log, oldest first."""
        found: deque[str] = deque(maxlen=max(0, most))
        for path in (self._log.with_suffix(".1"), self._log):
            with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
                found.extend(line.rstrip("\n") for line in file)
        return list(found)

    def ended(self, most: int) -> list[Done]:
        """Return the units that ended last, newest first."""
        return list(reversed(self._ended))[: max(0, most)]

    def _note(self, event: Event, server: str, unit: int) -> None:
        if event.kind == "working":
            self._titles[server, unit] = (str(event.data.get("project", "")), str(event.data.get("title", "")))
        elif event.kind in ENDS:
            project, title = self._titles.pop((server, unit), ("", ""))
            done = Done(
                at=time.time(),
                server=server,
                unit=unit,
                project=project,
                title=title,
                status=ENDS[event.kind],
                cpu_s=float(event.data.get("cpu_s", 0.0)),
                reason=str(event.data.get("reason", "")),
            )
            self._ended.append(done)
            with suppress(OSError):
                if len(self._ended) == KEPT and self._done.stat().st_size > 2 * KEPT * 200:
                    self._done.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in self._ended))
                else:
                    with self._done.open("ab") as file:
                        file.write(msgspec.json.encode(done) + b"\n")


def _remembered(path: Path) -> list[Done]:
    found = []
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            with suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(line, type=Done))
    return found
