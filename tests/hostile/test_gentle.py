"""Work that its owner does not feel: the last to get a processor, also in a session that it makes for itself."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from dsage import codec
from dsage.function import Limits
from dsage.sandbox import Box, Level, processes

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel groups no processes by session"
)
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


def group_of(pid: int) -> int:
    """Return the niceness of the scheduling group that a process is in."""
    return int(Path(f"/proc/{pid}/autogroup").read_text().rpartition(" ")[2])


@pytest.mark.parametrize("away", [False, True])
async def test_whatever_runs_comes_after_everything_of_the_owner(tmp_path: Path, away: bool) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "burning.py").write_text(APP)
    box = await Box.open(Level.BUBBLEWRAP, tmp_path / "app", "burning:App", tmp_path, nice=19)
    begun = asyncio.Event()
    limits = Limits(cpu_s=60.0, wall_s=60.0)
    call = asyncio.create_task(box.call("burn", (codec.encode(away),), limits, on_checkpoint=lambda _: begun.set()))
    try:
        await asyncio.wait_for(begun.wait(), 30)
        async with asyncio.timeout(30):
            while not all(group_of(pid) == 19 for pid in processes.tree(box.pid)):
                await asyncio.sleep(0.02)
        (burner,) = processes.tree(box.pid)[-1:]
        assert os.sched_getscheduler(burner) == os.SCHED_IDLE
        assert group_of(os.getpid()) < 19
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await box.close()
