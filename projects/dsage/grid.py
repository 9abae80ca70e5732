"""`connect()`, `local()`, `dask()`: the same things to do with three places to do them.

Everything happens in a thread of its own; a Grid may be used from any thread, program or notebook.
"""

from __future__ import annotations

import atexit
import functools
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from dsage import codec, display, saved, shipping, typed
from dsage.background import Background
from dsage.bundle import Bundle
from dsage.calls import KEY, Call, Calls, Feed, Source
from dsage.calls_job import CallsJob, EvalJob, FoundCalls
from dsage.driver import Driver
from dsage.errors import DSageError, UsageError
from dsage.function import DistributedFunction
from dsage.home import Home
from dsage.job import Job
from dsage.options import CallOptions, Options, checked, normal, params_of, template
from dsage.places import Place
from dsage.researcher import Researcher
from dsage.states import RunState
from dsage.trust.invite import Link
from dsage.wire import RunView

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dsage.executor import Executor

V = TypeVar("V")
J = TypeVar("J", bound=CallsJob[Any])

EVAL_S: Final = 600.0
"""How long an eval may take unless it is told."""
FILL_S: Final = 0.25
"""A chunk of calls on machines of one's own: long against what a unit costs, short for a person who waits."""
FILL_AWAY_S: Final = 30.0
"""A chunk on volunteers' computers."""


class Grid:
    """A place to run things. `place` is for use in the loop of `background`."""

    def __init__(self, opening: Callable[[], Awaitable[Place]], *, away: bool) -> None:
        self.background = Background("dsage")
        self._away = away
        self._closing = threading.Lock()
        atexit.register(self.close)
        try:
            self.place: Place = self.background.call(_awaited(opening))
        except BaseException:
            atexit.unregister(self.close)
            self.background.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return display.grid_line(self.place.name, self._about())

    def _repr_html_(self) -> str:
        return display.grid_html(self.place.name, self._about())

    def close(self) -> None:
        """Let go of the place. Runs on a server go on there; others end. May be called again, and by any thread."""
        with self._closing:
            atexit.unregister(self.close)
            if self.background.alive:
                try:
                    self.background.call(self.place.close())
                finally:
                    self.background.close()

    def _about(self) -> dict[str, str]:
        """Return what is to be said of the place, or that it cannot be asked."""
        if not self.background.alive:
            return {"state": "closed"}
        try:
            runs = len(self.background.call(self.place.runs()))
            return {**self.background.call(self.place.about()), "runs": str(runs)}
        except DSageError as error:
            return {"trouble": error.message}

    # -- runs ------------------------------------------------------------------------------------------------

    def run(self, function: DistributedFunction[Any, Any], *, hosted: bool = False, **more: Any) -> Job[Any]:
        """Start a run of a function of one's own and drive it from here.

        `more` are Options, and attributes to set first: `run(Sum(n=5), result=0)`. A `hosted` run is driven by the
        server, and goes on when this program ends. Raises ShipError if its source cannot travel.
        """
        if not isinstance(function, DistributedFunction):
            given = function.__name__ if isinstance(function, type) else type(function).__name__
            raise UsageError(
                f"{given} is no DistributedFunction that could be run",
                hint="Give an object of your class: grid.run(Sum(n=5)).",
            )
        options: Any = {name: more.pop(name) for name in Options.__annotations__ if name in more}
        for name, value in more.items():
            if name.startswith("_") or callable(getattr(type(function), name, None)):
                raise UsageError(f"{name!r} cannot be set on a {type(function).__name__}")
            setattr(function, name, value)
        checked(options)
        packed = shipping.ship_class(type(function))
        params = params_of(function)

        def begin() -> Job[Any]:
            number = self.background.call(
                self.place.submit(packed, function, params, likely=packed.entry, hosted=hosted, **options)
            )
            driver = None if hosted else Driver(function, self.place, number)
            return Job(self, number, driver=driver, function=function, again=begin)

        return begin()

    def job(self, run: int) -> Job[Any]:
        """Return a run that was started before, here or elsewhere. Raises NotFound."""
        first = self.background.call(self.place.units(run, limit=1)).units
        of_calls = first[0].key.startswith(KEY) if first else self._begun_as_calls(run)
        return (FoundCalls if of_calls else Job)(self, run).refresh()

    def _begun_as_calls(self, run: int) -> bool:
        params = codec.decode(self.background.call(self.place.run(run)).params)
        return bool(params.keys() == {"single"})

    def jobs(self, state: RunState | str = "") -> list[RunView]:
        """Return the runs of this place, of one state or all."""
        if state and state not in list(RunState):
            raise UsageError(f"no run is ever {state!r}", hint=f"Runs are {', '.join(RunState)}.")
        return [view for view in self.background.call(self.place.runs()) if not state or view.state == state]

    def driver_of(self, run: int) -> Driver:
        """Return a driver for a run that was started elsewhere: its stored source must be signed by one's own key.

        Raises UsageError where nothing outlives its program.
        """
        place = self.place
        if not isinstance(place, Researcher):
            raise UsageError(f"run {run} was started by another program", hint="Only a server keeps runs.")

        async def find() -> DistributedFunction:
            return await place.function_of(await place.run(run))

        return Driver(self.background.call(find()), place, run)

    def save(self, run: int, path: Path) -> Path:
        """Write a run into a file. Its present driver is shut out; the one here, if it was, drives on by attach()."""
        place = self.place

        async def gather() -> saved.Saved:
            view = await place.run(run)
            taken = await place.drive(run)
            units, after, more = [], 0, True
            while more:
                page = await place.remainder(run, after=after)
                units += page.units
                after, more = page.last, page.more
            source = await place.source_of(run)
            return saved.Saved(
                title=view.title, entry=source.entry, bundle=source.data, params=view.params, state=taken.state,
                units=units,
            )  # fmt: skip

        return saved.write(path, self.background.call(gather()))

    def restore(self, path: str | Path, **options: Unpack[Options]) -> Job[Any]:
        """Go on here with a run that was saved, wherever that was: it is another run, of the same source.

        Restoring the same file twice is one run. The source in the file is imported: restore only what you would run.
        """
        found, digest = saved.read(Path(path))
        packed = found.packed()
        function = found.function(packed.function)
        options.setdefault("key", f"restored {digest}")
        number = self.background.call(self.place.submit(packed, function, {}, likely=found.title, **options))
        return Job(self, number, driver=Driver(function, self.place, number), function=function)

    # -- calls -----------------------------------------------------------------------------------------------

    def __call__(self, source: str, vars: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]) -> Any:
        """Return the value of some Python source, and print what it printed."""
        job = self.eval(source, vars, **options)
        try:
            return job.wait()
        except KeyboardInterrupt:
            job.kill()
            raise
        finally:
            if output := job.output:
                print(output, end="")  # noqa: T201 - that is what was asked for

    def eval(
        self,
        source: str,
        vars: Mapping[str, Any] | None = None,
        *,
        sage: bool = False,
        **options: Unpack[CallOptions],
    ) -> EvalJob:
        """Run Python source elsewhere: the job's answer is its last expression, or DSAGE_RESULT if it sets that.

        `vars` are variables that it finds set. With `sage` it is Sage's language, and runs where Sage is. Where a
        file of `inputs` lies, `dsage.running.input(name)` says there. Raises ShipError for source that is not Python.
        """
        if not isinstance(source, str) or not isinstance(vars or {}, Mapping):
            raise UsageError(
                "eval takes source as text, and its variables as a dict", hint="grid.eval('a + 1', {'a': 1})"
            )
        names = tuple(sorted(vars or {}, key=str))
        packed = shipping.ship_source(source, names=names, sage=sage)
        return self._evaluated(packed, vars, options)

    def eval_file(
        self,
        path: str | Path,
        vars: Mapping[str, Any] | None = None,
        *,
        sage: bool = False,
        **options: Unpack[CallOptions],
    ) -> EvalJob:
        """Run a Python file elsewhere, as `eval` does; modules beside it that it imports come along."""
        return self._evaluated(shipping.ship_file(Path(path), sage=sage), vars, options)

    def map(
        self, function: Callable[..., V], *iterables: Iterable[Any], chunk: int | None = None,
        **options: Unpack[CallOptions],
    ) -> CallsJob[list[V]]:  # fmt: skip
        """Call `function` with the items of one or more iterables, as the built-in map; return a job to loop over.

        A unit has `chunk` calls; without, as many as fill some time. Raises ShipError if its source cannot travel.
        """
        if not iterables:
            raise UsageError("map() needs something to map over", hint="grid.map(function, items)")
        total = min((len(each) for each in iterables if isinstance(each, Sized)), default=None)
        calls: Iterator[Call] = ((args, {}) for args in zip(*iterables, strict=False))
        return self._mapped(function, calls, chunk, total, options)

    def starmap(
        self, function: Callable[..., V], each: Iterable[Any], /, *, chunk: int | None = None,
        **options: Unpack[CallOptions],
    ) -> CallsJob[list[V]]:  # fmt: skip
        """Call `function` with each: a tuple of arguments, a dict of named ones, (tuple, dict), or a single value."""
        total = len(each) if isinstance(each, Sized) else None
        return self._mapped(function, map(normal, each), chunk, total, options)

    def parallel(self, function: Callable[..., V] | None = None, **options: Any) -> Any:
        """Decorate a function: called with a list (or other iterable) of inputs it works on them all elsewhere, and
        yields ((arguments, named arguments), value) as they finish; called with anything else it is called here.
        """
        if function is None:
            return functools.partial(self.parallel, **options)
        return Parallel(self, function, options)

    def executor(self, **options: Unpack[CallOptions]) -> Executor:
        """Return a standard `concurrent.futures.Executor` whose calls run here: `with grid.executor() as pool: ...`."""
        from dsage.executor import Executor

        return Executor(self, options)

    # -- for the executor and for each other -----------------------------------------------------------------

    def feed(
        self, calls: Iterable[Call] | Source, *, chunk: int | None, total: int | None, closed: bool = True
    ) -> Feed:
        """Return calls for a run, cut into chunks that suit this place."""
        fill_s = FILL_AWAY_S if self._away else FILL_S
        return Feed(calls, chunk=chunk, fill_s=fill_s, total=total, closed=closed)

    def begin(self, packed: Bundle, feed: Feed, options: CallOptions, *, single: bool = False) -> tuple[int, Driver]:
        """Submit a run of calls, or of a single one; return its number and its driver."""
        checked(options)
        limits, like = template(packed.function, options)
        needs = tuple(sorted({*packed.function.needs, *options.get("needs", ())}))
        rule = options.get("agree") or packed.function.agree
        kind: type[Calls] = type("Calls", (packed.function,), {"limits": limits, "needs": needs, "agree": rule})
        packed = replace(packed, function=kind)
        params = {"single": single}
        function = kind(**params).fed(feed, like)
        wanted: Any = {name: options[name] for name in Options.__annotations__ if name in options}  # type: ignore[literal-required]
        number = self.background.call(
            self.place.submit(packed, function, params, likely=packed.function.title, **wanted)
        )
        return number, Driver(function, self.place, number)

    def _evaluated(self, packed: Bundle, vars: Mapping[str, Any] | None, options: CallOptions) -> EvalJob:
        options.setdefault("timeout", EVAL_S)
        codec.encode(dict(vars or {}))
        feed = self.feed([((), dict(vars or {}))], chunk=1, total=1)
        return self._called(EvalJob, packed, feed, options)

    def _mapped(
        self, function: Callable[..., V], calls: Iterable[Call], chunk: int | None, total: int | None,
        options: CallOptions,
    ) -> CallsJob[list[V]]:  # fmt: skip
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise UsageError(f"a chunk cannot have {chunk!r} calls", hint="Give 1 or more, or none for as many as fit.")
        feed = self.feed(calls, chunk=chunk, total=total)
        feed.returned = typed.returning(function)
        packed = shipping.ship_function(function)
        return self._called(CallsJob, packed, feed, options)

    def _called(self, kind: type[J], packed: Bundle, feed: Feed, options: CallOptions) -> J:
        def again() -> J:
            fresh = self.feed(feed.source, chunk=feed.chunk, total=feed.total)
            fresh.returned = feed.returned
            return self._called(kind, packed, fresh, options)

        number, driver = self.begin(packed, feed, options, single=kind is EvalJob)
        if options.get("key") and self.background.call(self.place.run(number)).step:
            known: Any = FoundCalls(self, number, driver=driver, again=again)
            return known  # type: ignore[no-any-return]
        return kind(self, number, outcomes=feed.outcomes, inputs=feed.source.taken, driver=driver, again=again)


class Parallel(Generic[V]):
    """A decorated function: see `Grid.parallel`."""

    def __init__(self, grid: Grid, function: Callable[..., V], options: Any) -> None:
        functools.update_wrapper(self, function)
        self._grid = grid
        self._function = function
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Work on a list of inputs elsewhere, on anything else here."""
        inputs = args[0] if len(args) == 1 and not kwargs else None
        if isinstance(inputs, list | range | Iterator):
            return self._grid.starmap(self._function, inputs, **self._options).as_completed()
        return self._function(*args, **kwargs)


def connect(url: str | None = None, *, key: str | None = None) -> Grid:
    """Return the volunteers of a server: of the last login, or of a link that the server or `dsage invite` printed.

    `key` names one of several code keys. Raises NoServer if nobody has logged in here, ServerAway, NotAllowed or a
    TrustError.
    """
    link = None if url is None else Link.parse(url)

    async def opening() -> Place:
        return await Researcher.open(Home(), link, key)

    return Grid(opening, away=True)


def local(workers: int | None = None) -> Grid:
    """Return this computer: units run in the volunteers' client's sandbox, `workers` at a time (one a core)."""
    from dsage.places.local import LocalPlace

    async def opening() -> Place:
        return LocalPlace(workers)

    return Grid(opening, away=False)


def dask(address: Any = None) -> Grid:
    """Return a Dask cluster of machines of one's own: a scheduler's address, or a `distributed.Client`.

    Nothing is computed twice to be checked. Raises UsageError if `distributed` is not installed.
    """
    from dsage.places.cluster import ClusterPlace

    async def opening() -> Place:
        return await ClusterPlace.open(address)

    return Grid(opening, away=False)


async def _awaited(opening: Callable[[], Awaitable[Place]]) -> Place:
    return await opening()
