"""A program's temporary folder, which goes with the program: if that was killed, the next one removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "dsage-place-"
LOCK: Final = "in-use"


class Folder:
    """A folder that other users may look into. Whoever makes one removes those that nobody holds any more."""

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        for left in base.glob(f"{PREFIX}*/{LOCK}"):
            _remove_if_left(left)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.path.chmod(0o755)
        self._held = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._held, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder and all that is in it. May be called again."""
        if self._held >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)
            self._held = -1


def _remove_if_left(lock: Path) -> None:
    """Remove a lock's folder unless a living program holds it, or it is another user's."""
    with suppress(OSError):
        held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
        finally:
            os.close(held)
