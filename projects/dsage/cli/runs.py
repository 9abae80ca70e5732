"""`dsage submit`, `attach` and `watch`: a run from its start to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import click

from dsage import codec
from dsage.bundle import Bundle, pack
from dsage.cli.following import SCHEMA, document, drive_and_show, ending, follow, tell
from dsage.cli.options import json_option, key_option, run_argument, server_option, target_argument
from dsage.cli.output import emit, say, size
from dsage.cli.terminal import Screen, facts
from dsage.cli.values import as_json as as_json_value
from dsage.cli.values import parse_params, shown
from dsage.driver import Driver
from dsage.errors import UsageError
from dsage.function import DistributedFunction
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage.states import OPEN_RUNS, RunState, UnitState
from dsage.trust.invite import Link
from dsage.trying import first_units
from dsage.wire import RunView

INTERRUPTED = 130
DRY_SCHEMA: Final = "dsage.dry-run/1"
FIRST_UNITS: Final = 1000
"""Units that a dry run makes to count them."""

Begin: TypeAlias = Callable[[Researcher], Awaitable[tuple[int, DistributedFunction]]]
"""Makes or finds a run, and the object that drives it."""
Goal: TypeAlias = Callable[[RunView], bool]
"""Says of a run whether one has seen enough of it."""


def _ended(view: RunView) -> bool:
    """Look until the run has ended, whatever that takes."""
    return False


def until(text: str) -> Goal:
    """Return the question that is asked of each look at a run: `done`, `first` or `percent:N`."""
    word, _, number = text.partition(":")
    if word == "percent" and number.isdecimal() and int(number) <= 100:
        return lambda view: reached(view) >= int(number) / 100
    if text == "first":
        return lambda view: view.units.get(UnitState.VALID, 0) > 0
    if text != "done":
        raise UsageError(f"{text!r} is no time to stop at", hint="It is done, first, or percent:N, such as percent:50.")
    return _ended


def reached(view: RunView) -> float:
    """Return how far a run is (0 to 1): as it says itself, else by its units so far."""
    known = facts(view, view.created)
    total = sum(view.units.values())
    return (
        known.fraction if known.fraction is not None else view.units.get(UnitState.VALID, 0) / total if total else 0.0
    )


@click.command(short_help="Start a run and drive it until it is done.")
@target_argument
@click.option(
    "--project",
    metavar="P",
    help="The project to run under (default: the one named like TARGET, else `lab`, else one of the key's).",
)
@click.option(
    "--priority",
    type=click.IntRange(-100, 100),
    default=0,
    metavar="N",
    help="Which of your own runs goes first: the one with the highest number, -100 to 100 (default 0).",
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="PREFIX",
    help="Only for computers whose kind begins so, such as linux-x86_64; may be repeated for others.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="Only for computers whose owners marked them so; may be repeated: they must have all.",
)
@click.option(
    "--once", default="", metavar="WORD", help="The same WORD again is the same run: it is not started a second time."
)
@click.option("--detach", is_flag=True, help="Only start the run; `dsage attach ID` drives it.")
@click.option("--hosted", is_flag=True, help="Only start the run; the server drives it, in its sandbox.")
@click.option("--watch", "watched", is_flag=True, help="Only look on, while something else drives the run.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@server_option
@key_option
@json_option
def submit(
    target: str,
    params: tuple[str, ...],
    project: str | None,
    priority: int,
    platforms: tuple[str, ...],
    tags: tuple[str, ...],
    once: str,
    detach: bool,
    hosted: bool,
    watched: bool,
    dry_run: bool,
    server: Link | None,
    key: str | None,
    as_json: bool,
) -> int:
    """Start a run and drive it until it is done.

    TARGET is a project of the gallery, such as `factor`, or a Python file: path/to/file.py[:CLASS]. Its source is
    signed with your code key. A parameter is an integer if it looks like one, else text.

    The answer goes to standard output, everything else to standard error. Ctrl-C detaches: volunteers go on with
    the units they have, and `dsage attach ID` drives the run on. Exit codes: 0 done, 8 failed or unfinished,
    9 cancelled (`dsage help exit-codes` lists all).
    """
    values = parse_params(params)
    packed = pack(target)
    function = construct(packed.function, values)
    function.dump_state()
    if dry_run:
        return asyncio.run(_dry_run(packed, function, values, project, target, server, key, as_json))

    async def begin(api: Researcher) -> tuple[int, DistributedFunction]:
        run = await api.submit(
            packed,
            function,
            values,
            project=project,
            likely=target,
            priority=priority,
            platforms=platforms,
            tags=tags,
            key=once,
            hosted=hosted,
        )
        return run, function

    if detach or hosted or watched:
        return _start_only(begin, server, key, as_json, watched=watched)
    return _drive(begin, server, key, as_json)


@click.command(short_help="Drive a run on from its last committed step.")
@run_argument
@click.argument("target", required=False)
@server_option
@key_option
@json_option
def attach(run: int, target: str | None, server: Link | None, key: str | None, as_json: bool) -> int:
    """Drive a run on from its last committed step.

    Any other driver of it is shut out. Without TARGET the run's stored source is used, if your own code key
    signed it; with TARGET (as for `dsage submit`) that must be the same source. Answer, Ctrl-C and exit codes are
    those of `dsage submit`.
    """
    local = None if target is None else pack(target)

    async def begin(api: Researcher) -> tuple[int, DistributedFunction]:
        return run, await api.function_of(await api.run(run), local)

    return _drive(begin, server, key, as_json)


@click.command(short_help="Look at a run while it goes on.")
@run_argument
@click.option(
    "--until",
    "goal",
    type=until,
    default="done",
    show_default=True,
    metavar="done|first|percent:N",
    help="Look until the run has ended, its first unit is done, or N percent of it.",
)
@server_option
@json_option
def watch(run: int, goal: Goal, server: Link | None, as_json: bool) -> int:
    """Look at a run while it goes on.

    Ends with the run, prints its answer and has its exit code; before that, if --until says so, with 0. Ctrl-C stops
    the looking, not the run.
    """
    return _look(run, goal, server, as_json)


def _look(run: int, goal: Goal, server: Link | None, as_json: bool) -> int:

    async def look() -> RunView:
        async with await Researcher.open(Home(), server) as api:
            with Screen("Ctrl-C stops watching; the run goes on.") as screen:
                return await follow(api, run, screen, until=goal)

    try:
        view = asyncio.run(look())
    except KeyboardInterrupt:
        say(f"stopped watching; run {run} goes on, and `dsage watch {run}` shows it again")
        return INTERRUPTED
    if view.state in OPEN_RUNS:
        emit(SCHEMA, document(view), as_json)
        say(f"that far; run {run} goes on, and `dsage watch {run}` shows it")
        return 0
    if view.state != RunState.DONE:
        say(ending(view))
    return tell(view, as_json)


def _drive(begin: Begin, server: Link | None, key: str | None, as_json: bool) -> int:
    """Begin, drive to the end, tell the answer; the first Ctrl-C detaches."""
    begun: list[int] = []

    async def go() -> RunView:
        async with await Researcher.open(Home(), server, key) as api:
            run, function = await begin(api)
            begun.append(run)
            say(f"run {run}: {await api.page(run)}")
            with Screen(f"Ctrl-C detaches; `dsage attach {run}` resumes.") as screen:
                return await drive_and_show(api, Driver(function, api, run, say=screen.say), run, screen)

    try:
        view = asyncio.run(go())
    except KeyboardInterrupt:
        if not begun:
            raise
        say(f"detached; `dsage attach {begun[0]}` resumes")
        return INTERRUPTED
    if view.state != RunState.DONE:
        say(ending(view))
    return tell(view, as_json)


def _start_only(begin: Begin, server: Link | None, key: str | None, as_json: bool, *, watched: bool) -> int:
    async def go() -> RunView:
        async with await Researcher.open(Home(), server, key) as api:
            run, _ = await begin(api)
            view = await api.run(run)
            drives = "the server drives it" if view.hosted else f"`dsage attach {run}` drives it"
            say(f"started; {drives}, and its page is {await api.page(run)}")
            return view

    view = asyncio.run(go())
    if watched:
        return _look(view.run, _ended, server, as_json)
    emit(SCHEMA, document(view), as_json, str(view.run))
    return 0


async def _dry_run(
    packed: Bundle, function: DistributedFunction, params: dict[str, Any], project: str | None, likely: str,
    server: Link | None, key: str | None, as_json: bool,
) -> int:  # fmt: skip
    units, whole = first_units(function, FIRST_UNITS)
    async with await Researcher.open(Home(), server, key) as api:
        chosen = api.project(project, likely)
        data = {
            "server": api.link.url,
            "project": chosen,
            "title": packed.function.title or packed.function.__name__,
            "entry": packed.entry,
            "bundle": packed.sha256,
            "bundle_bytes": len(packed.data),
            "params": as_json_value(params),
            "first_units": len(units),
            "all_units": whole,
            "args_bytes": sum(len(unit.args) for unit in units),
        }
    files = ", ".join(sorted(codec.decode(packed.data)["files"]))
    text = [
        f"server      {data['server']}",
        f"project     {chosen}",
        f"code        {packed.entry}, {size(len(packed.data))}: {files}",
        f"parameters  {', '.join(f'{name}={shown(value, 60)}' for name, value in params.items()) or 'none'}",
        f"units       {'' if whole else 'at least '}{len(units)} to begin with",
    ]
    emit(DRY_SCHEMA, data, as_json, "\n".join(text))
    say("nothing was sent; the same command without --dry-run starts the run")
    return 0
