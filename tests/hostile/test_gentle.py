"""Work that its owner does not feel: the last to get a processor, also in a session that it makes for itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dsage import codec
from dsage.function import Limits
from dsage.sandbox import Box, Level, processes

APP = """
import os
from dsage import running


class App:
    @staticmethod
    def burn(away):
        if away and os.fork():
            os.wait()
        elif away:
            os.setsid()
        running.checkpoint(0)
        while True:
            pass
"""


def group_of(pid: int | str) -> int | None:
    """Return the niceness of the scheduling group that a process is in; None where sessions are no groups."""
    try:
        shown = Path(f"/proc/{pid}/autogroup").read_text().strip()
    except FileNotFoundError:
        return None
    return int(shown.rpartition(" ")[2]) if shown else None


@asynccontextmanager
async def burning(folder: Path, away: bool) -> AsyncIterator[Box]:
    """A box of a good guest in which a call burns processor time, `away` in a session that it made for itself."""
    folder.chmod(0o755)
    (folder / "app").mkdir()
    (folder / "app" / "burning.py").write_text(APP)
    box = await Box.open(Level.BUBBLEWRAP, folder / "app", "burning:App", folder, nice=19)
    begun = asyncio.Event()
    limits = Limits(cpu_s=60.0, wall_s=60.0)
    call = asyncio.create_task(box.call("burn", (codec.encode(away),), limits, on_checkpoint=lambda _: begun.set()))
    try:
        await asyncio.wait_for(begun.wait(), 30)
        yield box
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await box.close()


@pytest.mark.parametrize("away", [False, True])
async def test_whatever_runs_comes_after_everything_of_the_owner(tmp_path: Path, away: bool) -> None:
    async with burning(tmp_path, away) as box:
        (burner,) = processes.tree(box.pid)[-1:]
        assert os.sched_getscheduler(burner) == os.SCHED_IDLE
        assert os.getpriority(os.PRIO_PROCESS, burner) == 19


@pytest.mark.skipif(group_of("self") is None, reason="this kernel groups no processes by session")
@pytest.mark.parametrize("away", [False, True])
async def test_no_session_of_what_runs_competes_with_those_of_the_owner(tmp_path: Path, away: bool) -> None:
    async with burning(tmp_path, away) as box, asyncio.timeout(30):
        while not all(group_of(pid) == 19 for pid in processes.tree(box.pid)):
            await asyncio.sleep(0.02)
        own = group_of("self")
        assert own is not None
        assert own < 19
