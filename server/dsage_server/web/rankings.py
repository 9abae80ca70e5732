"""Boards that all pages share: read now and then by a thread of their own, and asked by visitors from memory.

A board that is quickly made is at most a moment old. One that takes longer is made anew behind the visitors, who see
the last one meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from sqlalchemy import Connection

from dsage_server.shared import LEISURE, PERIOD_S
from dsage_server.store import boards
from dsage_server.store.boards import Board, Scope
from dsage_server.store.engine import Store

MOST_KEPT: Final = 10
"""Boards in memory: one of 100,000 volunteers takes some 50 MB."""
QUICK_S: Final = 0.05
"""Visitors wait for a board that took at most so long when it was made last."""


class Rankings:
    """The boards of a store, by scope, each made by one maker at a time."""

    def __init__(
        self, store: Store, *, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[Scope, _Kept] = {}
        self._maker = ThreadPoolExecutor(1, "boards")

    def board(self, _: Connection, scope: Scope, now: float) -> Board:
        """Return the board of a scope; raises what reading it raised."""
        with self._lock:
            kept = self._kept.pop(scope, None) or _Kept()
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[scope] = kept
            if kept.making is None and self._clock() >= kept.until:
                kept.making = self._maker.submit(self._make, scope, now, kept)
            board, making = kept.board, kept.making
            if board is not None and (making is None or kept.took > QUICK_S):
                return board
        assert making is not None, "what is not here is being made"
        return making.result()

    def close(self) -> None:
        """Let what is being made end."""
        self._maker.shutdown()

    def _make(self, scope: Scope, now: float, kept: _Kept) -> Board:
        started = self._clock()
        try:
            board = self._store.read_now(lambda connection: boards.made(connection, scope, now)).prepare()
        except BaseException:
            with self._lock:
                kept.making = None
            raise
        with self._lock:
            kept.board, kept.making, kept.took = board, None, self._clock() - started
            most = boards.PERIOD_S[scope.horizon]
            kept.until = self._clock() + max(self._period_s, min(most, 3 * LEISURE * kept.took))
        return board


class _Kept:
    """A board as it was made last, how long that took, until when it is good, and the one that is being made."""

    def __init__(self) -> None:
        self.board: Board | None = None
        self.took = 0.0
        self.until = 0.0
        self.making: Future[Board] | None = None
