"""One program at a time on a folder: a lock that lasts as long as its process lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsage.errors import Conflict


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the server's folder. Raises Conflict if a server runs on it already."""
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"a server runs on {folder} already",
                hint="Stop it first, or give this one a home of its own with DSAGE_HOME.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
