"""`Job`: a run as the program that started it, or found it again, sees it. Every method may be called in any thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from dsage import codec, display, exports
from dsage.background import result
from dsage.calls import split_calls
from dsage.cli.values import as_json
from dsage.driver import Driver, Ended
from dsage.errors import Busy, Conflict, DSageError, NotFound, RunCancelled, RunFailed, ServerAway, TimedOut
from dsage.files import write_whole
from dsage.function import DistributedFunction
from dsage.live import Live, bundle
from dsage.states import OPEN_RUNS, RunState
from dsage.wire import MAX_WAIT_S, Attempt, Event, RunView, UnitView

if TYPE_CHECKING:
    from dsage.grid import Grid

T = TypeVar("T")

PAGE: Final = 200
AWAY_S: Final = 2.0
"""How long whoever waits leaves a server alone that does not answer."""
AT_ONCE_S: Final = 1.0
"""Whoever ran out of time waits no longer than this to hear why."""
LOOK_S: Final = 0.2
"""How often a finished run is asked for what is folded a moment after its end."""


class Job(Generic[T]):
    """One run. `function` is the object that was submitted, None for a run that was only found; `id` is its number."""

    def __init__(
        self,
        grid: Grid,
        run: int,
        *,
        driver: Driver | None = None,
        function: DistributedFunction | None = None,
        again: Callable[[], Job[T]] | None = None,
    ) -> None:
        self.id = run
        self.function = function
        self._grid = grid
        self._driver = driver
        self._again = again
        self._view: RunView | None = None
        self._driving: Future[Ended] | None = None
        self._live: Live | None = None
        if driver is not None:
            self._driving = grid.background.start(driver.drive())
            self._driving.add_done_callback(self._driven)

    # -- how it stands ---------------------------------------------------------------------------------------

    def refresh(self) -> Job[T]:
        """Look at the run where it is; return itself. Attributes look by themselves."""
        self._view = self._grid.background.call(self._grid.place.run(self.id))
        return self

    @property
    def view(self) -> RunView:
        """The run as its server shows it, now; a run that has ended is not asked again."""
        if self._view is None or self._view.state in OPEN_RUNS:
            self.refresh()
        assert self._view is not None
        return self._view

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return RunState(self.view.state)

    @property
    def done(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state not in OPEN_RUNS

    @property
    def progress(self) -> dict[str, Any]:
        """What its function says about how far it is."""
        found: dict[str, Any] = codec.decode(self.view.progress) if self.view.progress else {}
        return found

    @property
    def start_time(self) -> datetime:
        """When it was submitted."""
        return datetime.fromtimestamp(self.view.created, UTC)

    @property
    def end_time(self) -> datetime | None:
        """When it ended; None while it goes on."""
        return None if self.view.finished is None else datetime.fromtimestamp(self.view.finished, UTC)

    @property
    def time(self) -> float:
        """Seconds from its start to its end, or till now."""
        return (self.view.finished or time.time()) - self.view.created

    @property
    def cpu_time(self) -> float:
        """Processor seconds of all accepted answers."""
        return sum(unit.cpu_s for unit in self.units())

    @property
    def wall_time(self) -> float:
        """Seconds that the computers which brought the accepted answers worked on them, added up."""
        return sum(unit.wall_s for unit in self.units())

    @property
    def url(self) -> str:
        """The address of its page; empty where there are none."""
        return self._grid.background.call(self._grid.place.page(self.id))

    @property
    def output(self) -> str:
        """The end of what it printed so far: of the newest copy of each unit, in the order of the units."""
        newest: dict[int, Attempt] = {}
        for attempt in self.attempts():
            known = newest.get(attempt.unit)
            if known is None or (attempt.output and attempt.started >= known.started):
                newest[attempt.unit] = attempt
        return "".join(newest[unit].output.decode("utf-8", "replace") for unit in sorted(newest))

    # -- its answer ------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> T:
        """Return the answer, when it is there.

        Raises TimedOut after `timeout` seconds (the run goes on), RunFailed or RunCancelled if there will be none, and
        Conflict if another driver has taken the run over.
        """
        if self._driving is None:
            return self._watched(timeout)
        try:
            ended = result(self._driving, timeout)
        except TimedOut as error:
            raise TimedOut(error.message + self._why_waiting()) from None
        except CancelledError:
            raise Conflict(f"run {self.id} is not driven here any more", hint="job.attach() drives it on.") from None
        self._show_end()
        return self._answer(ended.state, ended.result, ended.reason)

    def _why_waiting(self) -> str:
        """Return why the run stands still, if its server says so at once."""
        with suppress(DSageError):
            return _because(self._grid.background.call(self._grid.place.run(self.id), AT_ONCE_S))
        return ""

    @property
    def result(self) -> T | None:
        """The answer, None while there is none. Raises RunFailed or RunCancelled if there will be none."""
        return self.wait() if self.done else None

    def _watched(self, timeout: float | None) -> T:
        """Wait for a run that somebody else drives."""
        ends = None if timeout is None else time.monotonic() + timeout
        after = 0
        while True:
            try:
                view = self.refresh().view
            except (ServerAway, Busy):
                time.sleep(AWAY_S if ends is None else max(min(AWAY_S, ends - time.monotonic()), 0.0))
                if ends is not None and time.monotonic() >= ends:
                    raise
                continue
            if view.state not in OPEN_RUNS:
                value = None if view.result is None else codec.decode(view.result)
                self._show_end()
                return self._answer(RunState(view.state), value, view.reason)
            left = MAX_WAIT_S if ends is None else ends - time.monotonic()
            if left <= 0:
                raise TimedOut(f"run {self.id} took more than {timeout:g} s{_because(view)}")
            news: list[Event] = []
            with suppress(ServerAway, Busy):
                news = self._grid.background.call(
                    self._grid.place.events(self.id, after=after, wait_s=min(left, MAX_WAIT_S))
                )
            after = max((event.id for event in news), default=after)

    def _answer(self, state: RunState, value: Any, reason: str) -> T:
        if state is RunState.FAILED:
            raise RunFailed(f"run {self.id} failed: {reason}" if reason else f"run {self.id} failed")
        if state is RunState.CANCELLED:
            raise RunCancelled(f"run {self.id} was cancelled")
        answer: T = value
        return answer

    # -- what can be done with it ----------------------------------------------------------------------------

    def kill(self) -> None:
        """Cancel the run: everything of it that runs anywhere stops. One that has ended stays as it is."""
        with suppress(Conflict):
            self._do(self._grid.place.cancel(self.id))

    stop = kill

    def pause(self) -> None:
        """Give out no more work of it."""
        self._do(self._grid.place.pause(self.id))

    def resume(self) -> None:
        """Go on after a pause."""
        self._do(self._grid.place.resume(self.id))

    def retry(self) -> None:
        """Try its failed units again; a run that failed goes on."""
        self._do(self._grid.place.retry(self.id))
        if self._driver is not None:
            self.attach()

    def rerun(self) -> Job[T]:
        """Submit the same again, from its beginning, as another run. Raises NotFound if that is not known here."""
        if self._again is None:
            raise NotFound(f"how run {self.id} was begun is not known here", hint="Submit it again yourself.")
        return self._again()

    def attach(self) -> Job[T]:
        """Drive it from here, from its last committed step; other drivers are shut out. Return itself."""
        if self._driving is not None and not self._driving.done():
            return self
        driver = self._driver or self._grid.driver_of(self.id)
        self._driver, self._view = driver, None
        self._driving = self._grid.background.start(driver.drive())
        self._driving.add_done_callback(self._driven)
        return self

    def future(self) -> Future[Ended]:
        """Drive it from here, as `attach` does, and return a standard future of how it ends."""
        self.attach()
        assert self._driving is not None
        return self._driving

    def detach(self) -> None:
        """Drive it no longer from here; what volunteers have goes on, and attach() or another program drives on."""
        if self._driving is not None:
            self._driving.cancel()

    def save(self, path: str | Path) -> Path:
        """Write all of the run into a file from which it can go on elsewhere: see `Grid.restore`."""
        return self._grid.save(self.id, Path(path))

    # -- its units -------------------------------------------------------------------------------------------

    def units(self, state: str = "") -> Iterator[UnitView]:
        """Yield its units with their arguments and answers as codec bytes, of one state or all."""
        after, more = 0, True
        while more:
            page = self._grid.background.call(self._grid.place.units(self.id, after=after, state=state, limit=PAGE))
            yield from page.units
            more = page.more and bool(page.units)
            after = page.units[-1].unit if page.units else after

    def attempts(self, unit: int = 0) -> list[Attempt]:
        """Return how copies of a unit, or the newest ones of all, were run: state, output, times."""
        return self._grid.background.call(self._grid.place.attempts(self.id, unit=unit))

    def errors(self) -> dict[str, str]:
        """Return why units failed, by their keys."""
        return {unit.key: unit.failed for unit in self.units("failed")}

    def rows(self) -> Iterator[exports.Row]:
        """Yield a row for each unit, of a run of calls for each call: arguments, answer and how it went."""
        return split_calls(exports.rows(self.view, self.units()))

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame."""
        return exports.to_pandas(exports.about(self.view), self.rows())

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows as CSV; return the path."""
        return self._written("csv", path)

    def to_jsonl(self, path: str | Path) -> Path:
        """Write the rows as lines of JSON; return the path."""
        return self._written("jsonl", path)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the rows as Parquet; return the path."""
        return self._written("parquet", path)

    def to_npz(self, path: str | Path) -> Path:
        """Write the rows as arrays, one for each column; return the path."""
        return self._written("npz", path)

    def write_result(self, path: str | Path) -> Path:
        """Write the answer as JSON, when it is there; return the path."""
        write_whole(Path(path), msgspec.json.encode(as_json(self.wait())) + b"\n")
        return Path(path)

    # -- for people ------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        try:
            return display.line(self.id, self.view)
        except DSageError as error:
            return f"<Job {self.id}: {error.message}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        return bundle(self.view, self.url)

    def _ipython_display_(self) -> None:
        self._live = self._live or Live(self._grid, self.id)
        self._live.show(self.view)

    # -- within ----------------------------------------------------------------------------------------------

    def _do(self, work: Any) -> None:
        self._grid.background.call(work)
        self._view = None

    def _written(self, kind: str, path: str | Path) -> Path:
        with Path(path).open("wb") as file:
            exports.write(kind, file, exports.about(self.view), self.rows())
        return Path(path)

    def _show_end(self) -> None:
        """Have the display say so before whoever waits goes on: a notebook's cell may be its last."""
        if self._live is not None:
            self._live.now()

    def _driven(self, future: Future[Ended]) -> None:
        self._view = None
        if self._live is not None:
            self._live.news()


def _because(view: RunView) -> str:
    return f": {view.reason}" if view.reason else ""
