"""What the places without a server share: a `Book`, the calls that wait for it, and workers that empty it.

A subclass says how one unit is run (`execute`); everything happens in one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from dsage import bundle as bundles
from dsage.bundle import Bundle
from dsage.errors import Conflict, DSageError, NotFound
from dsage.function import DistributedFunction
from dsage.places.book import Book, Entry, Run
from dsage.places.folders import Folder
from dsage.sandbox.level import Outcome
from dsage.states import OPEN_RUNS
from dsage.wire import Answers, Attempt, Drive, Event, Remainder, RunView, Step, StepReply, UnitPage

T = TypeVar("T")


class MemoryPlace(ABC):
    """Runs in this program's memory, `workers` units at a time. They end with the program."""

    def __init__(self, name: str, workers: int) -> None:
        self._name = name
        self.book = Book(workers)
        self._folder = Folder()
        self.folder = self._folder.path
        self._news = asyncio.Event()
        self._files: dict[str, Path] = {}
        self._doing: dict[int, asyncio.Task[None]] = {}

    @property
    def name(self) -> str:
        """What it is called, for people."""
        return self._name

    @abstractmethod
    async def execute(self, entry: Entry, inputs: dict[str, Path], on_output: Callable[[bytes], None]) -> Outcome:
        """Run one unit; cancelling ends it. DSageErrors are taken as the reason why it failed."""

    # -- what a driver asks ----------------------------------------------------------------------------------

    async def submit(
        self,
        packed: Bundle,
        function: DistributedFunction,
        params: dict[str, Any],
        *,
        project: str | None = None,
        likely: str = "",
        priority: int = 0,
        platforms: Sequence[str] = (),
        tags: Sequence[str] = (),
        key: str = "",
        hosted: bool = False,
    ) -> int:
        """Make a run and return its number. The same `key` is the same run; every computer here is fit for it."""
        for known in self.book.all() if key else ():
            if known.key == key:
                return known.id
        run = self.book.submit(packed, function.dump_state(), params, priority)
        run.key = key
        return run.id

    async def drive(self, run: int) -> Drive:
        """Take a run over."""
        reply = self.book.drive(run)
        self.changed()
        return reply

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
        """Return what no step has folded, waiting up to `wait_s` seconds for it."""

        def look() -> Answers | None:
            found = self.book.answers(run, fence)
            over = found.state_of_run not in OPEN_RUNS or not found.open_units
            return found if found.answers or over or (hungry and found.hungry) else None

        return await self._until(look, wait_s) or self.book.answers(run, fence)

    async def step(self, run: int, step: Step) -> StepReply:
        """Commit a step, and begin with the units that it makes."""
        reply = self.book.step(run, step)
        self.changed()
        return reply

    async def replay(self, run: int, *, fence: int) -> Drive:
        """Nothing that was folded here is ever refused. Raises Conflict."""
        raise Conflict(f"every answer of run {run} holds")

    async def upload(self, path: Path) -> str:
        """Take a file, which stays where it is, and return its SHA-256."""
        sha256, there = await asyncio.to_thread(lambda: (_hash(path), path.resolve()))
        self._files[sha256] = there
        return sha256

    # -- what people ask -------------------------------------------------------------------------------------

    async def run(self, run: int) -> RunView:
        """Return one run. Raises NotFound."""
        return self.book.view(self.book.find(run))

    async def runs(self) -> list[RunView]:
        """Return every run."""
        return [self.book.view(run) for run in self.book.all()]

    async def events(self, run: int, *, after: int = 0, wait_s: float = 0.0) -> list[Event]:
        """Return what happened to a run after event number `after`, waiting up to `wait_s` seconds for it."""
        return await self._until(lambda: self.book.events(run, after), wait_s) or []

    async def units(self, run: int, *, after: int = 0, state: str = "", limit: int = 200) -> UnitPage:
        """Return units of a run that are still kept."""
        found = self.book.views(run, after, state, limit + 1)
        return UnitPage(units=found[:limit], more=len(found) > limit)

    async def attempts(self, run: int, *, unit: int = 0) -> list[Attempt]:
        """Return how a unit was run, or the newest ones of a run."""
        return self.book.outputs(run, unit)

    async def remainder(self, run: int, *, after: int = 0) -> Remainder:
        """Return what is left of a run."""
        return self.book.remainder(run, after)

    async def pause(self, run: int) -> None:
        """Let a run give out no more work."""
        self.book.pause(run)
        self.changed()

    async def resume(self, run: int) -> None:
        """Let a paused run go on."""
        self.book.resume(run)
        self.changed()

    async def cancel(self, run: int) -> None:
        """Cancel a run; what runs of it is stopped at once."""
        self.book.cancel(run)
        self.changed()

    async def retry(self, run: int, units: Sequence[int] = ()) -> None:
        """Try failed units again."""
        self.book.retry(run, list(units))
        self.changed()

    async def source_of(self, run: int) -> Bundle:
        """Return a run's source."""
        return self.book.find(run).packed

    async def page(self, run: int) -> str:
        """There are no pages here."""
        return ""

    async def close(self) -> None:
        """Stop everything and leave nothing behind."""
        for run in self.book.all():
            if run.state in OPEN_RUNS:
                self.book.cancel(run.id)
        self.changed()
        await asyncio.gather(*self._doing.values(), return_exceptions=True)
        self._folder.remove()

    # -- within ----------------------------------------------------------------------------------------------

    def app_of(self, run: Run) -> Path:
        """Return the folder with the source of a run."""
        folder = self.folder / run.packed.sha256
        bundles.unpack(run.packed.data, folder, expected_sha256=run.packed.sha256)
        return folder

    def changed(self) -> None:
        """The book has changed: begin what can begin, stop what is not wanted, wake who waits."""
        for unit in self.book.stopped & self._doing.keys():
            self._doing[unit].cancel()
        while len(self._doing) < self.book.workers and (entry := self.book.take(self._name)):
            self._doing[entry.id] = asyncio.get_running_loop().create_task(self._do(entry))
        self._news.set()
        self._news = asyncio.Event()

    async def _do(self, entry: Entry) -> None:
        def printed(output: bytes) -> None:
            entry.output = output

        outcome = Outcome("stopped", None, "closed", "it was not wanted any more", 0.0, 0.0)
        try:
            inputs = {name: self._file(sha256) for name, sha256 in entry.new.inputs.items()}
            with suppress(asyncio.CancelledError):
                outcome = await self.execute(entry, inputs, printed)
        except DSageError as error:
            outcome = Outcome("failed", None, error.code, error.message, 0.0, 0.0)
        except OSError as error:
            outcome = Outcome("failed", None, "machine", f"this computer could not run it: {error}", 0.0, 0.0)
        finally:
            del self._doing[entry.id]
            rest_s = self.book.ended(entry, outcome)
        if rest_s is not None:
            asyncio.get_running_loop().call_later(rest_s, self._again, entry)
        self.changed()

    def _file(self, sha256: str) -> Path:
        if sha256 not in self._files:
            raise NotFound(
                f"no file with the SHA-256 {sha256[:12]}... was sent here", hint="Name the file by its path."
            )
        return self._files[sha256]

    def _again(self, entry: Entry) -> None:
        self.book.again(entry)
        self.changed()

    async def _until(self, look: Callable[[], T], wait_s: float) -> T:
        """Return what `look` returns as soon as that is something, or after `wait_s` seconds."""
        try:
            async with asyncio.timeout(wait_s):
                while not (found := look()):
                    await self._news.wait()
                return found
        except TimeoutError:
            return look()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
