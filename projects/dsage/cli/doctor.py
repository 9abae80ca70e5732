"""`dsage doctor`: is everything well here, and if not, what is to be done?"""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, TypeAlias

import click
import msgspec

import dsage
from dsage.cli.login import me_of
from dsage.cli.options import json_option, server_option
from dsage.cli.output import colour, count, emit, hanging, say, size
from dsage.cli.terminal import duration
from dsage.cli.values import shown
from dsage.errors import DSageError, NoServer, NotAllowed, NotFound, SandboxRefused, ServerAway
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.sandbox import Level, strongest
from dsage.trust.inventory import inventory
from dsage.trust.invite import Link

SCHEMA: Final = "dsage.doctor/1"
CLOCK_OFF_S: Final = 5.0
"""Signatures and challenges carry times; a clock that is off by minutes makes them fail."""
CLOCK_WRONG_S: Final = 60.0
KEY_DAYS: Final = 30.0
ROOM: Final = 1 << 30
LITTLE_ROOM: Final = 100 << 20
AWAY: Final = 6
OPTIONAL: Final = {
    "numpy": "arrays as arguments and answers, and `dsage results --format npz`",
    "pyarrow": "`dsage results --format parquet` and archives",
    "pandas": "answers as a DataFrame",
    "sqlalchemy": "running a server here (`dsage serve`)",
    "psycopg": "a server with PostgreSQL",
}
MARKS: Final = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}
COLOURS: Final = {"ok": "green", "warning": "yellow", "problem": "red"}

Mark: TypeAlias = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at; `todo` says what helps."""

    what: str
    mark: Mark
    text: str
    todo: str = ""


@click.command(short_help="Say whether everything is well here, and what to do if not.")
@server_option
@json_option
def doctor(server: Link | None, as_json: bool) -> int:
    """Say whether everything is well here, and what to do if not.

    Looks at versions, disk, sandbox, keys, and the server that `dsage login` remembers. Exit codes: 0 all is well
    (or only warnings), 6 the server cannot be reached, 1 another problem.
    """
    found, away = asyncio.run(_examined(Home(), server))
    emit(SCHEMA, found, as_json, "\n".join(map(_line, found)))
    problems = sum(each.mark == "problem" for each in found)
    warnings = sum(each.mark == "warning" for each in found)
    if problems:
        say(f"{count(problems, 'problem')}: the lines below them say what to do" if not as_json else "problems found")
        return AWAY if away else 1
    say(f"all is well, with {count(warnings, 'warning')}" if warnings else "all is well")
    return 0


async def _examined(home: Home, server: Link | None) -> tuple[list[Finding], bool]:
    found = [*_computer(home), await _sandbox(), *_keys(home), *_extras()]
    away = False
    try:
        async with await Researcher.open(home, server) as api:
            found += [finding async for finding in _server(api)]
    except ServerAway as error:
        away = True
        found.append(_failed("server", error))
    except DSageError as error:
        unknown = isinstance(error, NoServer | NotFound | NotAllowed)
        mark: Mark = "warning" if unknown else "problem"
        found.append(Finding("server", mark, error.message, error.hint))
    order = ["dsage", "python", "server", "clock", "you", "sandbox", "keys", "disk"]
    return sorted(found, key=lambda each: order.index(each.what) if each.what in order else len(order)), away


def _computer(home: Home) -> Iterator[Finding]:
    yield Finding("dsage", "ok", f"version {dsage.__version__}")
    yield Finding("python", "ok", f"{platform.python_version()} on {sys.platform}, {platform.machine()}")
    places = {"home": _existing(home.folder), "temporary files": Path(tempfile.gettempdir())}
    for name, place in places.items():
        try:
            free = shutil.disk_usage(place).free
        except OSError as error:
            yield Finding("disk", "problem", f"{place} cannot be looked at: {error.strerror}", "Mend its permissions.")
            continue
        mark: Mark = "ok" if free >= ROOM else "warning" if free >= LITTLE_ROOM else "problem"
        todo = "" if mark == "ok" else "Free some space, or set DSAGE_HOME (or TMPDIR) to a roomier place."
        yield Finding("disk", mark, f"{size(free)} free for {name} ({place})", todo)


async def _sandbox() -> Finding:
    with tempfile.TemporaryDirectory(prefix="dsage-doctor-") as folder:
        try:
            report = await strongest(Path(folder) / "boxes", strangers=False)
        except SandboxRefused as error:
            return Finding("sandbox", "problem", error.message, error.hint or "docs/volunteers.md says what it needs.")
    if report.level is Level.BUBBLEWRAP:
        return Finding("sandbox", "ok", f"bubblewrap: {report.sentence}")
    return Finding("sandbox", "warning", f"only the weaker one: {report.sentence}", "sudo apt install bubblewrap")


def _keys(home: Home) -> Iterator[Finding]:
    names = home.code_key_names()
    if names:
        yield Finding("keys", "ok", f"{count(len(names), 'code key')} in {home.keys}: {', '.join(names)}")
    else:
        todo = "`dsage keys new code --name YOU`, then have the server's operator certify it."
        yield Finding("keys", "warning", f"no code key in {home.keys}: you can look, but not submit", todo)
    try:
        for line in inventory(home, home.root_file, time.time()):
            if line.warning:
                yield Finding("keys", "warning", line.warning, "`dsage keys status` shows all keys.")
    except DSageError as error:
        yield _failed("keys", error)


def _extras() -> Iterator[Finding]:
    for module, use in OPTIONAL.items():
        if find_spec(module) is None:
            yield Finding("optional", "ok", f"{module} is not installed; it is for {use}")
        else:
            yield Finding("optional", "ok", f"{module}: {use}")


async def _server(api: Researcher) -> AsyncIterator[Finding]:
    began = time.time()
    hello = await api.hello()
    took = time.time() - began
    view = await api.status()
    yield Finding("server", "ok", f"{shown(hello.name, 60)} at {api.link.url}, version {shown(view.version, 20)}")
    if view.trouble:
        yield Finding("server", "problem", f"it is in trouble: {shown(view.trouble, 200)}", "Tell its operator.")
    if not view.hosts_live:
        yield Finding("server", "warning", "no volunteer's computer is with it now", "`dsage join LINK` gives one.")
    off = hello.time - (began + took / 2)
    yield clock(off, took)
    try:
        me = me_of(api)
        await api.sign_in()
    except NotAllowed as error:
        yield Finding("you", "warning", f"you can look, but not submit: {error.message}", error.hint)
        return
    projects = ", ".join(me.projects)
    left_s = (me.expires or 0) - time.time()
    if left_s < KEY_DAYS * 86400:
        todo = (
            f"Ask the operator to renew it: `dsage keys certify ... --project {me.projects[0] if me.projects else 'P'}`"
        )
        yield Finding("you", "warning", f"your key's certificate ends in {duration(max(left_s, 0))}", todo)
    yield Finding("you", "ok", f"{me.researcher}, for the projects {projects}")


def clock(off_s: float, took_s: float) -> Finding:
    """Say how far this computer's clock is from the server's, known to within half the time that asking took."""
    beyond = max(0.0, abs(off_s) - took_s / 2)
    if beyond < CLOCK_OFF_S:
        return Finding("clock", "ok", f"within {max(took_s / 2 + abs(off_s), 0.1):.1f} s of the server's")
    mark: Mark = "problem" if beyond >= CLOCK_WRONG_S else "warning"
    side = "behind" if off_s > 0 else "ahead of"
    return Finding("clock", mark, f"{duration(beyond)} {side} the server's", "Set the clock of the one that is wrong.")


def _failed(what: str, error: DSageError) -> Finding:
    return Finding(what, "problem", error.message, error.hint)


def _line(found: Finding) -> str:
    mark = colour(f"{MARKS[found.mark]:<8}", COLOURS[found.mark])
    told = hanging(f"{found.what:<9} {mark} ", shown(found.text, 400))
    return told + (f"\n{hanging(' ' * 19, shown(found.todo, 400))}" if found.todo else "")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
