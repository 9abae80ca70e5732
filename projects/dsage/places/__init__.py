"""Where runs run: on a server's volunteers, on this computer, on a cluster. One interface, three of them.

`dsage.researcher.Researcher` is the first; `local` and `cluster` hold their runs in memory (`book`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dsage.bundle import Bundle
from dsage.function import DistributedFunction
from dsage.wire import Answers, Attempt, Drive, Event, Remainder, RunView, Step, StepReply, UnitPage


class Place(Protocol):
    """What a Grid needs of the place where its runs run. Everything is called in one event loop."""

    @property
    def name(self) -> str:
        """What it is called, for people."""

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
        """Make a run and return its number."""

    async def drive(self, run: int) -> Drive:
        """Take a run over."""

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
        """Return what no step has folded, waiting up to `wait_s` seconds for it."""

    async def step(self, run: int, step: Step) -> StepReply:
        """Commit a step."""

    async def replay(self, run: int, *, fence: int) -> Drive:
        """Go back to before the first answer that does not hold any more was folded."""

    async def upload(self, path: Path) -> str:
        """Send a file, unless it is there, and return its SHA-256."""

    async def run(self, run: int) -> RunView:
        """Return one run. Raises NotFound."""

    async def runs(self) -> list[RunView]:
        """Return every run."""

    async def events(self, run: int, *, after: int = 0, wait_s: float = 0.0) -> list[Event]:
        """Return what happened to a run after event number `after`, waiting up to `wait_s` seconds for it."""

    async def units(self, run: int, *, after: int = 0, state: str = "", limit: int = 200) -> UnitPage:
        """Return units of a run, by id above `after`, of one state or all."""

    async def attempts(self, run: int, *, unit: int = 0) -> list[Attempt]:
        """Return the copies of a unit, or the newest ones of a run."""

    async def remainder(self, run: int, *, after: int = 0) -> Remainder:
        """Return what is left of a run, by unit id above `after`."""

    async def pause(self, run: int) -> None:
        """Let a run give out no more work."""

    async def resume(self, run: int) -> None:
        """Let a paused run go on."""

    async def cancel(self, run: int) -> None:
        """Cancel a run."""

    async def retry(self, run: int, units: Sequence[int] = ()) -> None:
        """Try failed units again."""

    async def source_of(self, run: int) -> Bundle:
        """Return a run's source."""

    async def page(self, run: int) -> str:
        """Return the address of a run's page, empty if it has none."""

    async def about(self) -> dict[str, str]:
        """Return what people may want to know of it, as short words: what there is, and of what kind or how much."""

    async def close(self) -> None:
        """Let everything go."""
