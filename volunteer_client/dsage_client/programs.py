"""Which of some programs run on this computer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from dsage.sandbox import processes

PROC: Final = Path("/proc")
NAME_BYTES: Final = 15
"""Linux cuts the names of processes after so many bytes."""


class Programs:
    """Looks through all processes, and remembers what they are called: a look costs one short read for each."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._known: dict[int, tuple[bytes, frozenset[str]]] = {}

    def running(self, wanted: Iterable[str]) -> frozenset[str]:
        """Return which of these programs run, as they are written there. Capital letters, folders and `.exe` do not
        matter. A process is called what it calls itself, what its file is called and what it was started as; our own
        processes do not count. Raises OSError and psutil.Error."""
        names = {plain_name(name): name for name in wanted}
        names.pop("", None)
        if not names:
            self._known.clear()
            return frozenset()
        cut = {name.encode()[:NAME_BYTES].decode(errors="ignore"): wanted for name, wanted in names.items()}
        found = {pid: called for pid, called in self._called() if not called.isdisjoint(names.keys() | cut.keys())}
        for pid in processes.tree(os.getpid()) if found and sys.platform == "linux" else ():
            found.pop(pid, None)
        called = frozenset[str]().union(*found.values())
        return frozenset(names[name] for name in names.keys() & called) | {cut[name] for name in cut.keys() & called}

    def _called(self) -> Iterator[tuple[int, frozenset[str]]]:
        if sys.platform != "linux":
            for process in psutil.process_iter(["name"]):
                yield process.pid, frozenset({plain_name(process.info["name"] or "")})
            return
        before, self._known = self._known, {}
        for entry in os.listdir(self._proc):
            if entry.isdigit():
                self._known[int(entry)] = known = self._looked_at(entry, before.get(int(entry)))
                yield int(entry), known[1]

    def _looked_at(self, pid: str, before: tuple[bytes, frozenset[str]] | None) -> tuple[bytes, frozenset[str]]:
        """Return the name of a process and all that it is called. Whatever it becomes by `exec`, the name changes."""
        folder = f"{self._proc}/{pid}"
        name = _read(f"{folder}/comm")
        if before is not None and before[0] == name:
            return before
        file = ""
        with suppress(OSError):
            file = os.readlink(f"{folder}/exe")
        started = _read(f"{folder}/cmdline").partition(b"\0")[0].decode(errors="replace")
        called = (name.decode(errors="replace"), file, started)
        return name, frozenset(plain for each in called if (plain := plain_name(each)))


def plain_name(program: str) -> str:
    """Return a program's name as it is compared."""
    name = program.strip().removesuffix(" (deleted)").replace("\\", "/").rpartition("/")[2].lower()
    return name.removesuffix(".exe")


def _read(path: str) -> bytes:
    """Return the beginning of a file of /proc; nothing if the process has gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
