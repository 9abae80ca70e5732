"""What the calls of a lane print, as the host sees it: one file in the lane's slot, emptied after each call.

The warm parent opens the file and hands it over, because only it can make one that counts as the box's own disk. It is
a stranger's file: the host reads its end, never waits for it, and believes nothing in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final

from dsage.wire import MAX_OUTPUT

SHARE: Final = 2
"""A call that prints more than its disk divided by this is ended: it would go on until that is full."""


class Printed:
    """The file of one lane; `handed` are the descriptors that came from the box, of which one is expected."""

    def __init__(self, handed: Iterable[int] = ()) -> None:
        self._fds = list(handed)
        self._seen = 0
        self._last = b""

    @property
    def usable(self) -> bool:
        """Whether it is one ordinary file: anything else could make a reader wait."""
        return len(self._fds) == 1 and stat.S_ISREG(os.fstat(self._fds[0]).st_mode)

    def size(self) -> int:
        """Return how much was printed, in bytes; nothing once the file has gone."""
        return os.fstat(self._fds[0]).st_size if self._fds else 0

    def tail(self, most: int = MAX_OUTPUT) -> bytes:
        """Return the end of what was printed (of a file that has gone: as it was then), empty if it cannot be read."""
        if not self._fds:
            return self._last[-most:]
        size = self._seen = self.size()
        if not size:
            return b""
        try:
            return os.pread(self._fds[0], most, max(0, size - most))
        except OSError:
            return b""

    def news(self) -> bytes:
        """Return the end of what was printed if there is more than at the last look, else nothing."""
        return self.tail() if self.size() != self._seen else b""

    def clear(self) -> bool:
        """Forget what was printed; say whether that worked."""
        self._seen, self._last = 0, b""
        if not self.size():
            return True
        try:
            os.ftruncate(self._fds[0], 0)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let the file go, and keep its end. May be called again."""
        if self.usable:
            self._last = self.tail()
        while self._fds:
            os.close(self._fds.pop())
