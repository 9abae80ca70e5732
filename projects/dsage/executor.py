"""The standard interface for calls elsewhere: `concurrent.futures.Executor` over a Grid.

All calls of one function are one run, which stays open until the executor is shut down.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any, TypeVar

from dsage import codec, shipping, typed
from dsage.calls import Call, CallFailed, Feed
from dsage.driver import Ended
from dsage.errors import RunCancelled, RunFailed
from dsage.states import RunState

if TYPE_CHECKING:
    from dsage.grid import Grid
    from dsage.options import CallOptions

V = TypeVar("V")


class Executor(futures.Executor):
    """Runs calls on a Grid. `submit`, `map` and `shutdown` are the standard ones; a raised error is a CallFailed."""

    def __init__(self, grid: Grid, options: CallOptions) -> None:
        self._grid = grid
        self._options = options
        self._lines: dict[Any, _Line] = {}
        self._lock = threading.Lock()
        self._shut = False

    def submit(self, fn: Callable[..., V], /, *args: Any, **kwargs: Any) -> futures.Future[V]:
        """Call `fn` elsewhere.

        Raises ShipError if its source cannot travel, CodecError for such arguments, RuntimeError after shutdown. If
        the function's run has ended (somebody cancelled it), another one is begun.
        """
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            call: Call = (args, kwargs)
            codec.encode(call)
            future = self._lines[fn].add(call) if fn in self._lines else None
            if future is None:
                self._lines[fn] = _Line(self._grid, fn, self._options)
                future = self._lines[fn].add(call)
            if future is None:
                raise futures.BrokenExecutor("the run of these calls ended at once")
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait` return when all are done, with `cancel_futures` give up those not begun."""
        with self._lock:
            self._shut = True
            lines = list(self._lines.values())
        for line in lines:
            line.close(cancel=cancel_futures)
        if wait:
            for line in lines:
                line.join()


class _Line:
    """The open run of one function."""

    def __init__(self, grid: Grid, function: Callable[..., Any], options: CallOptions) -> None:
        self._grid = grid
        self._waiting: deque[tuple[Call, futures.Future[Any]]] = deque()
        self._given: dict[int, futures.Future[Any]] = {}
        self._count = 0
        self._ended: BaseException | None = None
        self._lock = threading.Lock()
        self._feed: Feed = grid.feed(_Empty(self._next), chunk=None, total=None, closed=False)
        self._feed.on_outcome = self._told
        self._feed.returned = typed.returning(function)
        self.run, self._driver = grid.begin(shipping.ship_function(function), self._feed, options)
        self._driving = grid.background.start(self._driver.drive())
        self._driving.add_done_callback(self._over)

    def add(self, call: Call) -> futures.Future[Any] | None:
        """Return the future of a call; None if the run has ended."""
        future: futures.Future[Any] = futures.Future()
        with self._lock:
            if self._ended is not None:
                return None
            self._waiting.append((call, future))
        self._nudge()
        return future

    def close(self, *, cancel: bool) -> None:
        """Take no more calls; with `cancel` forget those that have not begun."""
        while cancel:
            with self._lock:
                if not self._waiting:
                    break
                _, future = self._waiting.pop()
            future.cancel()
        self._feed.closed = True
        self._nudge()

    def join(self) -> None:
        """Wait for the run's end."""
        futures.wait([self._driving])

    def _nudge(self) -> None:
        self._grid.background.soon(self._driver.nudge)

    def _next(self) -> Call | None:
        """Return the next call that nobody has cancelled. Called by the driver."""
        while True:
            with self._lock:
                if not self._waiting:
                    return None
                call, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                with self._lock:
                    self._given[self._count] = future
                    self._count += 1
                return call

    def _told(self, number: int, outcome: list[Any]) -> None:
        with self._lock:
            future = self._given.pop(number, None)
        if future is None:
            return
        if len(outcome) > 1:
            future.set_exception(CallFailed(outcome[1]))
        else:
            future.set_result(outcome[0])

    def _over(self, driving: futures.Future[Ended]) -> None:
        why: BaseException = RunCancelled(f"run {self.run} was cancelled")
        if not driving.cancelled():
            ended = driving.exception()
            if ended is not None:
                why = ended
            elif driving.result().state is RunState.FAILED:
                why = RunFailed(f"run {self.run} failed: {driving.result().reason}")
        with self._lock:
            self._ended = why
            waiting = [future for _, future in self._waiting]
            left = [*self._given.values(), *(each for each in waiting if each.set_running_or_notify_cancel())]
            self._waiting.clear()
            self._given.clear()
        for future in left:
            future.set_exception(why)


class _Empty(Iterator[Call]):
    """An iterator that has nothing now, and may have something later."""

    def __init__(self, take: Callable[[], Call | None]) -> None:
        self._take = take

    def __next__(self) -> Call:
        call = self._take()
        if call is None:
            raise StopIteration
        return call
