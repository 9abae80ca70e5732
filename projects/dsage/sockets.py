"""Sockets that are files: reached however deep their folder lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MAX_ADDRESS: Final = 107
"""Bytes of a path that a socket's address holds on Linux. Source: unix(7)."""
OPEN_FILES: Final = Path("/proc/self/fd")


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Yield the address by which the socket at `path` can be made or called, as long as the block lasts.

    A path that is too long for an address is reached through its folder, held open meanwhile. Where a system does not
    show open files (macOS) it stays as it is, and a socket refuses it. Raises OSError if the folder is not there.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS or not OPEN_FILES.is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(OPEN_FILES / str(folder) / path.name)
    finally:
        os.close(folder)
