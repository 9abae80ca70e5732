"""Jobs that are calls: `map`, `parallel` and `eval`, started here or found again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from dsage import codec, exports
from dsage.calls import KEY, CallFailed, Outcomes
from dsage.driver import Ended
from dsage.errors import Conflict, RunEnded
from dsage.job import LOOK_S, Job

if TYPE_CHECKING:
    from dsage.grid import Grid

T = TypeVar("T")


class CallsJob(Job[T]):
    """A run of calls, which can be looped over: their values in the order of the calls."""

    def __init__(self, grid: Grid, run: int, *, outcomes: Outcomes, inputs: list[Any], **kwargs: Any) -> None:
        self._outcomes = outcomes
        self._inputs = inputs
        super().__init__(grid, run, **kwargs)

    def __iter__(self) -> Iterator[Any]:
        return self.results()

    def __len__(self) -> int:
        return len(self._outcomes)

    def results(self, *, timeout: float | None = None, partial: bool = False) -> Iterator[Any]:
        """Yield each call's value in the order of the calls, waiting for them; if `partial`, those that are there.

        Raises CallFailed for one that failed, TimedOut if the next takes more than `timeout` seconds.
        """
        if partial:
            found = self._outcomes.found
            yield from (found[number][0] for number in sorted(found) if not found[number][1])
            return
        for number in self._outcomes.numbers(in_order=True, timeout=timeout):
            yield self._value(number)

    def as_completed(self, timeout: float | None = None) -> Iterator[tuple[Any, Any]]:
        """Yield ((arguments, named arguments), value) as calls finish. Raises as `results` does."""
        for number in self._outcomes.numbers(in_order=False, timeout=timeout):
            yield self._inputs[number], self._value(number)

    def errors(self) -> dict[str, str]:
        """Return what calls raised, by their numbers."""
        return {str(n): failed for n, (_, failed) in sorted(self._outcomes.found.items()) if failed}

    @property
    def cpu_time(self) -> float:
        """Processor seconds of all finished calls."""
        return self._outcomes.cpu_s

    @property
    def wall_time(self) -> float:
        """Seconds that finished calls took, added up."""
        return self._outcomes.wall_s

    def attach(self) -> Job[T]:
        """Drive it from here, as `Job.attach` does; its values come again."""
        if self._driving is None or self._driving.done():
            self._outcomes.begin()
        return super().attach()

    def wait(self, timeout: float | None = None) -> T:
        """Return the list of values, or of a single eval its value. Raises as `results` and `Job.wait` do."""
        ends = None if timeout is None else time.monotonic() + timeout
        super().wait(timeout)
        left = None if ends is None else max(ends - time.monotonic(), LOOK_S)
        return self._whole(list(self.results(timeout=left)))

    def _whole(self, values: list[Any]) -> T:
        whole: Any = values
        return whole  # type: ignore[no-any-return]

    def _value(self, number: int) -> Any:
        value, failed = self._outcomes[number]
        if failed:
            raise CallFailed(f"call {number} of run {self.id} failed: {failed}")
        return value

    def _driven(self, future: Future[Ended]) -> None:
        why: BaseException | None
        if future.cancelled():
            why = Conflict(f"run {self.id} is not driven here any more", hint="job.attach() drives it on.")
        else:
            why = future.exception()
            if why is None:
                ended = future.result()
                try:
                    self._answer(ended.state, ended.result, ended.reason)
                except RunEnded as error:
                    why = error
        self._outcomes.over(why)
        super()._driven(future)


class FoundCalls(Job[Any]):
    """A run of calls that was started before: its values come from its units."""

    def __iter__(self) -> Iterator[Any]:
        return self.results()

    def results(self, *, timeout: float | None = None, partial: bool = False) -> Iterator[Any]:
        """Yield each call's value in the order of the calls, when all are done; if `partial`, those that are there.

        Raises CallFailed for one that failed, and as `Job.wait` does.
        """
        if partial:
            yield from (row["value"] for row in self._calls() if row["state"] == "valid" and not row["failed"])
        else:
            yield from (value for _, value in self.as_completed(timeout))

    def as_completed(self, timeout: float | None = None) -> Iterator[tuple[Any, Any]]:
        """Yield ((arguments, named arguments), value) of each call, when all are done. Raises as `results` does."""
        super().wait(timeout)
        for row in self._calls():
            if row["failed"]:
                raise CallFailed(f"call {row['key'].removeprefix(KEY)} of run {self.id} failed: {row['failed']}")
            if row["state"] == "valid":
                args, kwargs = row["args"]
                yield (tuple(args), kwargs), row["value"]

    def _calls(self) -> list[exports.Row]:
        return sorted(self.rows(), key=lambda row: int(row["key"].removeprefix(KEY)))

    def errors(self) -> dict[str, str]:
        """Return what calls raised, by their numbers."""
        return {row["key"].removeprefix(KEY): row["failed"] for row in self.rows() if row["failed"]}

    def wait(self, timeout: float | None = None) -> Any:
        """Return the list of values, or of a single eval its value. Raises as `results` does."""
        values = list(self.results(timeout=timeout))
        return values[0] if codec.decode(self.view.params).get("single") else values


class EvalJob(CallsJob[Any]):
    """One call: its value is the run's."""

    def _whole(self, values: list[Any]) -> Any:
        return values[0]

    def _value(self, number: int) -> Any:
        value, failed = self._outcomes[number]
        if failed:
            raise CallFailed(failed)
        return value
