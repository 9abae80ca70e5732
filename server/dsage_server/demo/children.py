"""The demo's programs: real `dsage` commands as processes of their own, which never outlive the demo.

Ended in good order they are asked first and killed only if they do not listen. If the demo itself is killed, the
kernel asks them in its place (PR_SET_PDEATHSIG). They lead sessions of their own, so that Ctrl-C reaches the demo
alone, which then ends them in the right order.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from dsage.errors import DSageError

STOP_S: Final = 8.0
"""A client takes at most two seconds for its last call and a moment for its sandbox; after this it is killed."""
MAX_LINE_BYTES: Final = 1 << 20
DSAGE: Final = ("-P", "-m", "dsage")
_PARENT_DEATH_SIGNAL: Final = 1
_LIBC: Final = ctypes.CDLL(None)

Heard = Callable[[dict[str, Any]], None]


class Child:
    """One program. Its JSON documents go to `heard` one by one, and to a log file with what it says for people."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path, heard: Heard) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._reader = asyncio.create_task(self._read(heard), name=f"{name}-reader")

    @classmethod
    async def start(
        cls, name: str, words: Sequence[str], *, home: Path, log: Path, scratch: Path, heard: Heard
    ) -> Self:
        """Start `python WORDS` with `home` as its DSAGE_HOME and `scratch` for temporary files."""
        with log.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, limit=MAX_LINE_BYTES,
                env={**os.environ, "DSAGE_HOME": str(home), "TMPDIR": str(scratch)},
                start_new_session=True, preexec_fn=_ending_with(os.getpid()),
            )  # fmt: skip
        return cls(name, process, log, heard)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    async def ended(self) -> DSageError:
        """Wait for its end and return the error that tells of it, in the program's own last words."""
        await self._process.wait()
        await self._reader
        message, hint = _last_words(self.log)
        return DSageError(f"the demo's {self.name} has ended: {message}", hint=hint)

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reader

    async def _read(self, heard: Heard) -> None:
        """Pass on what it prints: documents of one line or of several."""
        assert self._process.stdout is not None
        begun = b""
        with self.log.open("ab", buffering=0) as log:
            async for line in self._process.stdout:
                log.write(line)
                begun += line
                try:
                    document = msgspec.json.decode(begun)
                except msgspec.DecodeError:
                    continue
                begun = b""
                heard(document)


def _ending_with(parent: int) -> Callable[[], None]:
    """Return what a child does first: it ends when its parent does, also if that has happened already."""

    def bind() -> None:
        _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _last_words(log: Path) -> tuple[str, str | None]:
    """Return the sentence and the hint with which a program ended."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    try:
        problem = msgspec.json.decode(last.encode())
    except msgspec.DecodeError:
        return last, None
    if not isinstance(problem, dict):
        return last, None
    return str(problem.get("detail", last)), problem.get("hint")
