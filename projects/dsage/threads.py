"""What is done in a thread ends before its caller goes on, also a caller that is cancelled: nothing stays open or half
written behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Closable(Protocol):
    """Anything that is to be closed: a file."""

    def close(self) -> object: ...


C = TypeVar("C", bound=Closable)


async def to_its_end(future: asyncio.Future[Any]) -> None:
    """Wait until `future` is done, also when this wait is cancelled; raises that, or else what the future raised."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        future.cancelled() or future.exception()  # looked at: nobody else will
        raise cancelled
    future.result()


async def step(function: Callable[P, T], *args: P.args, **how: P.kwargs) -> T:
    """Call `function` in a thread and return what it returns."""
    work = asyncio.get_running_loop().run_in_executor(None, partial(function, *args, **how))
    await to_its_end(work)
    return work.result()


async def made(undo: Callable[[T], object], making: Callable[P, T], *args: P.args, **how: P.kwargs) -> T:
    """Return what a call of `making` in a thread makes; if the caller is cancelled meanwhile, `undo` it at once."""
    work = asyncio.get_running_loop().run_in_executor(None, partial(making, *args, **how))
    try:
        await to_its_end(work)
    except asyncio.CancelledError:
        if work.exception() is None:
            undo(work.result())
        raise
    return work.result()


@asynccontextmanager
async def opened(opening: Callable[P, C], *args: P.args, **how: P.kwargs) -> AsyncIterator[C]:
    """Open something by a call in a thread; close it behind the block, or when the caller was cancelled meanwhile."""
    file = await made(lambda it: it.close(), opening, *args, **how)
    try:
        yield file
    finally:
        file.close()
