"""`dsage submit`, `attach`, `watch` and `results`: a run from its start to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import click
import msgspec

from dsage.bundle import pack
from dsage.cli.following import SCHEMA, answer_text, document, drive_and_show, ending, exit_status, follow, tell
from dsage.cli.options import json_option, key_option, server_option
from dsage.cli.output import emit, say
from dsage.cli.terminal import Screen
from dsage.cli.values import parse_params
from dsage.driver import Driver
from dsage.errors import NotFound, UsageError
from dsage.files import write_whole
from dsage.function import DistributedFunction
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage.states import RunState
from dsage.trust.invite import Link
from dsage.wire import RunView

INTERRUPTED = 130

Begin: TypeAlias = Callable[[Researcher], Awaitable[tuple[int, DistributedFunction]]]
"""Makes or finds a run, and the object that drives it."""


@click.command(short_help="Start a run and drive it until it is done.")
@click.argument("target")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; may be repeated.")
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
@click.option("--detach", is_flag=True, help="Only start the run; `dsage attach ID` drives it.")
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
    detach: bool,
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

    async def begin(api: Researcher) -> tuple[int, DistributedFunction]:
        run = await api.submit(
            packed, function, values, project=project, likely=target, priority=priority, platforms=platforms, tags=tags
        )
        return run, function

    return _start_only(begin, server, key, as_json) if detach else _drive(begin, server, key, as_json)


@click.command(short_help="Drive a run on from its last committed step.")
@click.argument("run", type=int, metavar="ID")
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
@click.argument("run", type=int, metavar="ID")
@server_option
@json_option
def watch(run: int, server: Link | None, as_json: bool) -> int:
    """Look at a run while it goes on.

    Ends with the run, prints its answer and has its exit code. Ctrl-C stops the looking, not the run.
    """

    async def look() -> RunView:
        async with await Researcher.open(Home(), server) as api:
            with Screen("Ctrl-C stops watching; the run goes on.") as screen:
                return await follow(api, run, screen)

    try:
        view = asyncio.run(look())
    except KeyboardInterrupt:
        say(f"stopped watching; run {run} goes on")
        return INTERRUPTED
    if view.state != RunState.DONE:
        say(ending(view))
    return tell(view, as_json)


@click.command(short_help="Print the answer of a run.")
@click.argument("run", type=int, metavar="ID")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file instead.")
@server_option
@json_option
def results(run: int, output: Path | None, server: Link | None, as_json: bool) -> int:
    """Print the answer of a run.

    Integers beyond 2^53 are decimal strings in JSON. Exit codes: 0 for a whole answer, 3 if there is none yet,
    8 if the run failed or is unfinished, 9 if it was cancelled.
    """

    async def fetch() -> RunView:
        async with await Researcher.open(Home(), server) as api:
            return await api.run(run)

    if output is not None and not output.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {output.parent} to write to")
    view = asyncio.run(fetch())
    if view.state == RunState.RUNNING:
        raise NotFound(
            f"run {run} has no answer yet",
            hint=f"`dsage watch {run}` waits for it; `dsage attach {run}` drives it if nobody does.",
        )
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


def _drive(begin: Begin, server: Link | None, key: str | None, as_json: bool) -> int:
    """Begin, drive to the end, tell the answer; the first Ctrl-C detaches."""
    begun: list[int] = []

    async def go() -> RunView:
        async with await Researcher.open(Home(), server, key) as api:
            run, function = await begin(api)
            begun.append(run)
            say(f"run {run}: {await _page(api, run)}")
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


def _start_only(begin: Begin, server: Link | None, key: str | None, as_json: bool) -> int:
    async def go() -> RunView:
        async with await Researcher.open(Home(), server, key) as api:
            run, _ = await begin(api)
            say(f"started; `dsage attach {run}` drives it, and its page is {await _page(api, run)}")
            return await api.run(run)

    view = asyncio.run(go())
    emit(SCHEMA, document(view), as_json, str(view.run))
    return 0


async def _page(api: Researcher, run: int) -> str:
    return f"{(await api.hello()).pages_url.rstrip('/')}/run/{run}"


def _content(view: RunView, as_json: bool) -> bytes:
    if as_json:
        return msgspec.json.encode({"schema": SCHEMA, "data": document(view)}) + b"\n"
    return answer_text(view).encode() + b"\n"
