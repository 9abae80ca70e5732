"""An event loop in a thread of its own, for programs and notebooks that have none, or one that is busy."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from dsage.errors import TimedOut, UsageError

T = TypeVar("T")


class Background:
    """The loop. `call` and `start` may be used from every thread but its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(_Threads(thread_name_prefix=name))
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it has not been closed."""
        return not self._closed

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin `work` and return its future; cancelling that cancels it."""
        with self._closing:
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise _gone()

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Do `work` and return its result. Raises TimedOut after `timeout` seconds, and then leaves it going on;
        UsageError if this was closed, before or meanwhile."""
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError("this waits for its own thread", hint="Call it from another thread than a callback's.")
        try:
            return result(self.start(work), timeout)
        except CancelledError:
            raise _gone() from None

    def soon(self, call: Any, *args: Any) -> None:
        """Have the loop call something."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)

    def close(self) -> None:
        """End the loop and what runs in it. May be called again, and by any thread but the loop's own."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self.soon(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


class _Threads(ThreadPoolExecutor):
    """The loop's threads. When the program ends Python gives out no more: what is left to tidy is done at once."""

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        try:
            return super().submit(call, *args, **kwargs)
        except RuntimeError:
            done: Future[T] = Future()
            try:
                done.set_result(call(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it is handed to whoever waits
                done.set_exception(error)
            return done


def _gone() -> UsageError:
    return UsageError("this connection was closed", hint="Open another one: connect() or local().")


async def aside(call: Callable[[], T]) -> T:
    """Do `call` in a thread of its own, which nobody waits for but who asked: it may take long, or never end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(done: Future[T]) -> None:
        if answer.done():
            return
        if (error := done.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(done.result())

    def work() -> None:
        done: Future[T] = Future()
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is handed to whoever waits
            done.set_exception(error)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, done)

    threading.Thread(target=work, name="dsage-author", daemon=True).start()
    return await answer


def result(future: Future[T], timeout: float | None = None) -> T:
    """Return what a future holds. Raises TimedOut if that takes more than `timeout` seconds."""
    try:
        return future.result(timeout)
    except FutureTimeout:
        if future.done():
            raise
        raise TimedOut(f"it took more than {timeout:g} s") from None
