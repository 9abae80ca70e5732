"""`dsage results`: the answer of a run, or the answers of its units in a format of other programs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

from dsage import exports
from dsage.cli.following import SCHEMA, answer_text, document, ending, exit_status, result_of, tell
from dsage.cli.options import json_option, key_option, run_argument, server_option
from dsage.cli.output import count, say
from dsage.errors import Busy, NotFound, ServerAway, UsageError
from dsage.files import whole_file, write_whole
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.states import OPEN_RUNS, OPEN_UNITS, RunState, UnitState
from dsage.trust.invite import Link
from dsage.wire import RunView, UnitView

PAGE: Final = 1000
AGAIN_S: Final = 2.0
"""Between two looks at a run that is followed."""
INTERRUPTED: Final = 130


@click.command(short_help="Print the answer of a run, or of its units.")
@run_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it to this file (or folder) instead.")
@click.option("--format", "kind", type=click.Choice(exports.FORMATS), help="The answers of the units, so written.")
@click.option("--jsonl", "as_lines", is_flag=True, help="The same as --format jsonl.")
@click.option("--partial", is_flag=True, help="The answers of the units that there are so far.")
@click.option("--follow", is_flag=True, help="Go on with new answers of units until the run ends.")
@server_option
@key_option
@json_option
def results(
    run: int, output: Path | None, kind: str | None, as_lines: bool, partial: bool, follow: bool,
    server: Link | None, key: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Print the answer of a run, or of its units.

    The answer of a run is for everybody; the answers of its units, by --format, --partial or --follow, are for its
    owner: a row for each unit that has one, and each that failed. Integers beyond 2^53 are decimal strings in JSON.
    Exit codes: 0 for a whole answer, 3 if there is none yet, 8 if the run failed or is unfinished, 9 if it was
    cancelled.
    """
    if as_lines and kind not in (None, "jsonl"):
        raise UsageError(f"--jsonl and --format {kind} are two formats")
    if as_lines or (kind is None and (partial or follow)):
        kind = "json" if as_json and not follow else "jsonl"
    if output is not None and not output.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {output.parent} to write to")
    if kind is None:
        return _answer(run, output, server, as_json)
    if follow and kind not in exports.STREAMED:
        raise UsageError(f"{kind} cannot be written as answers come", hint="Follow with --format jsonl or csv.")
    if kind == "files" and output is None:
        raise UsageError("files need a folder to be written to", hint="Name it by -o FOLDER.")
    if kind in ("npz", "parquet") and output is None and sys.stdout.isatty():
        raise UsageError(f"{kind} is not for a terminal", hint=f"Write it to a file: -o run-{run}.{kind}")
    exports.needs(kind)
    try:
        return asyncio.run(_units(run, output, kind, partial, follow, server, key))
    except KeyboardInterrupt:
        say(f"stopped; `dsage results {run} --format {kind} --partial` begins again")
        return INTERRUPTED


def _answer(run: int, output: Path | None, server: Link | None, as_json: bool) -> int:
    async def fetch() -> RunView:
        async with await Researcher.open(Home(), server) as api:
            return await api.run(run)

    view = asyncio.run(fetch())
    if view.state in OPEN_RUNS and view.result is None:
        raise _none_yet(view)
    if view.state != RunState.DONE:
        say(ending(view))
    if output is None:
        return tell(view, as_json)
    try:
        write_whole(output, _content(view, as_json))
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    say(f"the answer of run {run} is in {output}")
    return exit_status(view)


async def _units(
    run: int, output: Path | None, kind: str, partial: bool, follow: bool, server: Link | None, key: str | None
) -> int:
    async with await Researcher.open(Home(), server, key) as api:
        view = await api.run(run)
        if view.state in OPEN_RUNS and not (partial or follow):
            raise _none_yet(view)
        told = 0
        if follow:
            told = await _stream(api, view, output, kind)
            view = await api.run(run)
        else:
            units = [unit async for page in pages(api, run) for unit in page if _ended(unit)]
            told = _written(view, units, output, kind)
    where = f" in {output}" if output is not None else ""
    say(f"{count(told, 'unit')} of run {run}{where}; the run is {view.state}")
    if view.state in OPEN_RUNS:
        say(f"`dsage results {run} --format {kind} --follow` waits for the others" if kind in exports.STREAMED else "")
        return 0
    return exit_status(view)


async def pages(api: Researcher, run: int, after: int = 0) -> AsyncIterator[list[UnitView]]:
    """Yield the units of a run with an id above `after`, page by page."""
    while True:
        page = await api.units(run, after=after, limit=PAGE)
        if page.units:
            yield page.units
            after = page.units[-1].unit
        if not page.more or not page.units:
            return


def _written(view: RunView, units: list[UnitView], output: Path | None, kind: str) -> int:
    about = exports.about(view)
    rows = exports.rows(view, units)
    try:
        if kind == "files" and output is not None:
            exports.write_files(output, about, rows)
        elif output is None:
            exports.write(kind, _stdout(), about, rows)
            _stdout().flush()
        else:
            with whole_file(output) as file:
                exports.write(kind, file, about, rows)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    return len(units)


async def _stream(api: Researcher, view: RunView, output: Path | None, kind: str) -> int:
    """Write units as they end, each once, until the run has ended; return how many."""
    file = _stdout() if output is None else _opened(output)
    try:
        if kind == "csv":
            file.write(exports.csv_line(exports.COLUMNS))
        seen: set[int] = set()
        floor = told = 0
        while True:
            view = await _patiently(api, view.run)
            open_below = False
            try:
                async for page in pages(api, view.run, floor):
                    new = [unit for unit in page if _ended(unit) and unit.unit not in seen]
                    file.writelines(exports.unit_lines(kind, exports.rows(view, new)))
                    told += len(new)
                    seen |= {unit.unit for unit in new}
                    for unit in page:
                        open_below = open_below or unit.state in OPEN_UNITS
                        if not open_below:
                            floor = unit.unit
                            seen.discard(unit.unit)
                file.flush()
            except (ServerAway, Busy) as error:
                say(f"{error.message}; looking again")
            else:
                if view.state not in OPEN_RUNS:
                    return told
            await asyncio.sleep(AGAIN_S)
    finally:
        if output is not None:
            file.close()


async def _patiently(api: Researcher, run: int) -> RunView:
    away = False
    while True:
        try:
            return await api.run(run)
        except (ServerAway, Busy) as error:
            if not away:
                say(f"{error.message}; looking again every {AGAIN_S:g} s")
            away = True
            await asyncio.sleep(AGAIN_S)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _ended(unit: UnitView) -> bool:
    """Say whether a unit has a row: cancelled ones have neither an answer nor a failure."""
    return unit.state in (UnitState.VALID, UnitState.FAILED)


def _stdout() -> BinaryIO:
    return sys.stdout.buffer


def _none_yet(view: RunView) -> NotFound:
    driven = f"`dsage attach {view.run}` drives it if nobody does"
    return NotFound(
        f"run {view.run} has no answer yet",
        hint=f"`dsage watch {view.run}` waits for it; {driven}; --partial gives the answers of units so far."
        if view.state == RunState.RUNNING
        else f"It is {view.state}: `dsage resume {view.run}` lets it go on.",
    )


def _content(view: RunView, as_json: bool) -> bytes:
    if as_json:
        return msgspec.json.encode({"schema": SCHEMA, "data": document(view)}) + b"\n"
    value = result_of(view)
    return value if isinstance(value, bytes) else answer_text(view).encode() + b"\n"
