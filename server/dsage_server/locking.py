"""Who may be on a folder at a time: locks that last as long as their process lives."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from dsage.errors import Conflict


@contextmanager
def only_one(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the server's folder, alone or with others that share it. Raises Conflict if a server runs on it already."""
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"a server runs on {folder} already",
                hint="Stop it first, or give this one a home of its own with DSAGE_HOME.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@asynccontextmanager
async def one_by_one(folder: Path) -> AsyncIterator[None]:
    """Wait until no other process that shares the folder is inside of this."""
    with (folder / ".starting").open("a") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield
