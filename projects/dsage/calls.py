"""Calls of one function as a run: what `map`, `parallel`, `eval` and the Executor are made of.

A unit is a chunk of calls, as many as fill some time by what the chunks before took; its answer says of each call what
it gave or raised. The class that runs elsewhere extends `Calls` (`dsage.shipping` writes it), and so does the object
that drives the run here.
"""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from dsage import codec
from dsage.errors import CodecError, RunFailed, TimedOut
from dsage.function import DistributedFunction, Unit
from dsage.states import UnitState

MAX_CHUNK: Final = 4096
MAX_CHUNK_BYTES: Final = 4 << 20
"""Arguments of a chunk of several calls: far below what one request to a server may hold."""
GROWTH: Final = 4
"""A chunk has at most so many times the calls of the largest before: one odd measurement does no harm."""
FOR_EVER_S: Final = 1e10
KEY: Final = "calls."

Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments and named arguments."""


class CallFailed(RunFailed):
    """A call raised, or could not be finished; the message says what and where."""

    code = "call-failed"


def each(function: Callable[..., Any], calls: list[list[Any]]) -> list[list[Any]]:
    """Call `function` with each [arguments, named arguments]; return for each [value], or [None, what it raised]."""
    return [_tried(function, args, kwargs) for args, kwargs in calls]


def _tried(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
    try:
        value = function(*args, **kwargs)
        codec.encode(value)
    except MemoryError:
        raise
    except CodecError as error:
        return [None, f"{type(error).__name__}: {error}"]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises is the call's outcome
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"line {last.lineno}" if last.filename else "somewhere"
        return [None, f"{type(error).__name__}: {error} ({where}, in {last.name})"]
    return [value]


class Outcomes:
    """What became of calls, by their number; for any thread to wait on."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Any, str]] = {}
        self._order: list[int] = []
        self._news = threading.Condition()
        self._total: int | None = None
        self._ended: BaseException | None = None
        self.cpu_s = 0.0
        self.wall_s = 0.0

    def put(self, first: int, outcomes: Iterable[list[Any]]) -> None:
        """Take the outcomes of consecutive calls."""
        with self._news:
            for number, outcome in enumerate(outcomes, first):
                if number not in self._found:
                    self._order.append(number)
                self._found[number] = (outcome[0], outcome[1] if len(outcome) > 1 else "")
            self._news.notify_all()

    def complete(self, total: int) -> None:
        """There are `total` calls in all."""
        with self._news:
            self._total = total
            self._news.notify_all()

    def begin(self) -> None:
        """There may be more again, although it was said that there will not."""
        with self._news:
            self._ended = None

    def over(self, why: BaseException | None) -> None:
        """Nothing more will come."""
        with self._news:
            self._ended = why or RunFailed("the run ended")
            self._news.notify_all()

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, number: int) -> tuple[Any, str]:
        """Return (value, what was raised) of a call that has finished."""
        return self._found[number]

    @property
    def found(self) -> dict[int, tuple[Any, str]]:
        """(value, what was raised) by number, so far."""
        return dict(self._found)

    def numbers(self, *, in_order: bool, timeout: float | None = None) -> Iterator[int]:
        """Yield the numbers of finished calls: as they finish, or in the order of the calls.

        Raises TimedOut if the next takes more than `timeout` seconds, and the run's error if it ended before.
        """
        place = 0
        while True:
            with self._news:
                if not self._news.wait_for(partial(self._ready, place, in_order=in_order), timeout):
                    raise TimedOut(f"no further call was finished within {timeout:g} s")
                if self._total is not None and place >= self._total:
                    return
                if not self._has(place, in_order=in_order):
                    assert self._ended is not None
                    raise self._ended
                number = place if in_order else self._order[place]
            yield number
            place += 1

    def _has(self, place: int, *, in_order: bool) -> bool:
        return place in self._found if in_order else place < len(self._order)

    def _ready(self, place: int, *, in_order: bool) -> bool:
        finished = self._total is not None and place >= self._total
        return finished or self._has(place, in_order=in_order) or self._ended is not None


class Source:
    """Calls that are pulled out of an iterable when somebody wants them, and kept: several Feeds may read them."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.taken: list[Call] = []
        self._calls = iter(calls)
        self._pulling = threading.Lock()

    def between(self, first: int, last: int) -> list[Call]:
        """Return the calls from number `first` up to before `last`, fewer if there are no more."""
        with self._pulling:
            self.taken.extend(itertools.islice(self._calls, max(last - len(self.taken), 0)))
            return self.taken[first:last]


class Feed:
    """What a program here and the run's driver share: the calls to make, and what became of them.

    The driver works on copies of the function; this is the same for all of them. A chunk has `chunk` calls or, if
    None, as many as take `fill_s` seconds; of the `total` of calls, if it is known, no more than a `spread`-th of what
    is left. Further calls may come as long as it is not `closed`. `returned` makes a value what its
    function is annotated to return. What became of the calls is kept in `outcomes`, or taken by `on_outcome`.
    """

    def __init__(
        self,
        calls: Iterable[Call] | Source,
        *,
        chunk: int | None,
        fill_s: float,
        spread: int = 8,
        total: int | None = None,
        closed: bool = True,
    ) -> None:
        self.source = calls if isinstance(calls, Source) else Source(calls)
        self.outcomes = Outcomes()
        self.chunk = chunk
        self.fill_s = fill_s
        self.spread = spread
        self.total = total
        self.per_call_s: float | None = None
        self.largest = 0
        self.on_outcome: Callable[[int, list[Any]], None] | None = None
        self.returned: Callable[[Any], Any] | None = None
        self.closed = closed

    def __deepcopy__(self, memo: dict[int, Any]) -> Feed:
        return self

    def take(self, first: int) -> list[list[Any]]:
        """Return the next chunk, which begins with call number `first`; none if there are no more calls."""
        if self.chunk is not None:
            size = self.chunk
        elif self.per_call_s is None:
            size = 1
        else:
            fair = MAX_CHUNK if self.total is None else -(-(self.total - first) // self.spread)
            by_time = int(self.fill_s / max(self.per_call_s, 1e-9))
            size = max(1, min(by_time, GROWTH * self.largest, fair, MAX_CHUNK))
        chunk = [[list(args), kwargs] for args, kwargs in self.source.between(first, first + size)]
        while len(chunk) > 1 and len(codec.encode(chunk)) > MAX_CHUNK_BYTES:
            chunk = chunk[: len(chunk) // 2]
        self.largest = max(self.largest, len(chunk))
        return chunk

    def learn(self, calls: int, wall_s: float) -> None:
        """Learn how long a chunk took."""
        took = wall_s / calls
        self.per_call_s = took if self.per_call_s is None else (self.per_call_s + took) / 2


class Calls(DistributedFunction[list[list[Any]], list[list[Any]]]):
    """Calls that come from a Feed. Taken over elsewhere, where there is no Feed, it ends with the calls it has.

    `single` says that it is one call, whose value is the run's answer.
    """

    def __init__(self, single: bool = False) -> None:
        super().__init__()
        self.single = single
        self.calls_made = 0
        self.calls_done = 0
        self._feed: Feed | None = None
        self._template: Unit[Any] = Unit(None)

    def fed(self, feed: Feed, template: Unit[Any]) -> Calls:
        """Return itself, with a feed; its units are like `template`."""
        self._feed, self._template = feed, template
        if not feed.closed:
            self.wake_at = time.time() + FOR_EVER_S
        return self

    def next_job(self) -> Unit[list[list[Any]]] | None:
        """Return a unit of further calls."""
        if self._feed is None:
            self.wake_at = 0.0
            return None
        calls = self._feed.take(self.calls_made)
        if not calls:
            if self._feed.closed:
                self.wake_at = 0.0
                self._feed.outcomes.complete(self.calls_made)
            return None
        first, self.calls_made = self.calls_made, self.calls_made + len(calls)
        return self._unit(first, calls)

    def process_result(self, unit: Unit[list[list[Any]]], value: list[list[Any]]) -> None:
        """Tell whoever waits; the answer of a single call is the run's."""
        self.calls_done += len(value)
        self._tell(unit, value)
        if self.single:
            self.result = value[0][0]

    def unit_failed(self, unit: Unit[list[list[Any]]], reason: str) -> None:
        """Try the calls of a chunk one by one; a single call that fails has failed."""
        first = int(unit.key.split(".")[1])
        if len(unit.args) > 1:
            for number, call in enumerate(unit.args, first):
                self.submit(self._unit(number, [call], again=True))
        else:
            self.calls_done += 1
            self._tell(unit, [[None, reason]])

    def progress(self) -> dict[str, Any]:
        """Return how many calls are done."""
        total = self.calls_made if self._feed is None else self._feed.total
        if not total:
            return {"summary": f"{self.calls_done} calls"}
        return {"summary": f"{self.calls_done} of {total} calls", "fraction": self.calls_done / total}

    def _unit(self, first: int, calls: list[list[Any]], *, again: bool = False) -> Unit[list[list[Any]]]:
        like = self._template
        return Unit(
            calls, key=f"{KEY}{first}.{'again' if again else len(calls)}", credit=like.credit * len(calls),
            quorum=like.quorum, deadline_s=like.deadline_s, limits=like.limits, inputs=like.inputs,
            retries=like.retries, adaptive=like.adaptive,
        )  # fmt: skip

    def _tell(self, unit: Unit[list[list[Any]]], outcomes: list[list[Any]]) -> None:
        if self._feed is None:
            return
        if unit.wall_s:
            self._feed.learn(len(outcomes), unit.wall_s)
        outcomes = [_given(self._feed, outcome) for outcome in outcomes]
        first = int(unit.key.split(".")[1])
        self._feed.outcomes.cpu_s += unit.cpu_s
        self._feed.outcomes.wall_s += unit.wall_s
        if self._feed.on_outcome is None:
            self._feed.outcomes.put(first, outcomes)
        else:
            for number, outcome in enumerate(outcomes, first):
                self._feed.on_outcome(number, outcome)


def _given(feed: Feed, outcome: list[Any]) -> list[Any]:
    """Return an outcome with its value as the type that the function says it returns."""
    if feed.returned is None or len(outcome) > 1:
        return outcome
    try:
        return [feed.returned(outcome[0])]
    except CodecError as error:
        return [None, error.message]


def split_calls(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each call of the rows of units of calls; other rows as they are.

    A chunk that failed has none: each of its calls is tried again by itself, and has a row of that.
    """
    for row in rows:
        if not row["key"].startswith(KEY):
            yield row
            continue
        if row["state"] == UnitState.FAILED and len(row["args"]) > 1:
            continue
        first = int(row["key"].split(".")[1])
        outcomes = row["value"] or [[None]] * len(row["args"])
        for number, (call, outcome) in enumerate(zip(row["args"], outcomes, strict=True), first):
            failed = outcome[1] if len(outcome) > 1 else row["failed"]
            yield {**row, "key": f"{KEY}{number}", "args": call, "value": outcome[0], "failed": failed}
