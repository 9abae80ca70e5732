"""The owner's verbs: `dsage status`, `pause`, `resume`, `finish`, `prefs`, `log`, `manager`, `link`, `leave`.

`pause`, `resume` and `status` are also a researcher's: with the number of a run, or of a server, they mean that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from dsage.cli.options import json_option, key_option, server_option, yes_option
from dsage.errors import NoAgent, UsageError
from dsage.trust.invite import Link

if TYPE_CHECKING:
    from dsage_client.door.desk import Desk
    from dsage_client.door.words import Status
    from dsage_client.guest.preferences import Preferences
    from dsage_client.install.switch import Switch
    from dsage_client.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

PREFERENCES: Final = "dsage.preferences/1"
LOG: Final = "dsage.log/1"
STOPPING_S: Final = 20.0
STARTING_S: Final = 60.0


def home_option(command: F) -> F:
    """Add --home."""
    text = "The folder of the client, if it is not the usual one."
    return click.option("--home", type=click.Path(path_type=Path, file_okay=False), help=text)(command)


@click.command(short_help="Say what this computer does, and why; or what a server does.")
@server_option
@home_option
@json_option
def status(server: Link | None, home: Path | None, as_json: bool) -> None:
    """Say what this computer does, and why; or what a server does.

    With --server, or where no client was ever started but `dsage login` remembers a server: that server and its runs.
    """
    if server is not None or not _folder(home).exists():
        from dsage.cli.status import glance_at

        glance_at(server, as_json)
        return
    _show(asyncio.run(_status(_folder(home))), as_json)


@click.command(short_help="Pause this computer's work, or a run.")
@click.argument("what", metavar="[30m|1h|tomorrow|RUN]", default="")
@server_option
@key_option
@home_option
@json_option
def pause(what: str, server: Link | None, key: str | None, home: Path | None, as_json: bool) -> None:
    """Pause this computer's work, or a run.

    Without a run: for 30m, 1h, 3h, until tomorrow, or until `dsage resume`.

    With the number of a RUN: let that run of yours give out no more work for now. Units that volunteers' computers have
    go on, and their answers are taken.
    """
    if what.isdecimal():
        from dsage.cli.control import pause_run

        pause_run(int(what), server, key, as_json)
    else:
        _show(_ask(home, lambda desk: desk.pause(what)), as_json)


@click.command(short_help="Let this computer's work, or a paused run, go on.")
@click.argument("run", metavar="[RUN]", type=int, required=False)
@server_option
@key_option
@home_option
@json_option
def resume(run: int | None, server: Link | None, key: str | None, home: Path | None, as_json: bool) -> None:
    """Let this computer's work, or a paused run, go on.

    With the number of a RUN: that run of yours.
    """
    if run is not None:
        from dsage.cli.control import resume_run

        resume_run(run, server, key, as_json)
    else:
        _show(_ask(home, lambda desk: desk.resume()), as_json)


@click.command(short_help="Finish what this computer has begun, then stop computing.")
@home_option
@json_option
def finish(home: Path | None, as_json: bool) -> None:
    """Finish what this computer has begun, then stop computing.

    `dsage resume` begins again.
    """
    _show(_ask(home, lambda desk: desk.finish()), as_json)


@click.command(short_help="Show or change when and how this computer computes.")
@click.argument("changes", metavar="[NAME=VALUE]...", nargs=-1)
@home_option
@json_option
def prefs(changes: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Show or change when and how this computer computes.

    Values are JSON, or plain words: `dsage prefs when=idle idle_after_s=300 in_use.percent=25
    exclusive_apps=blender,steam`. docs/preferences.md explains each.
    """
    from dsage.cli.output import emit
    from dsage_client.guest import preferences as preferred

    folder = _folder(home)
    kept, damage = preferred.load(folder / "preferences.json")
    wanted = _changes(changes, kept)

    async def act() -> Preferences:
        from dsage_client.door.desk import Desk

        try:
            async with await Desk.open(folder) as desk:
                return await desk.prefer(wanted) if wanted else await desk.preferences()
        except NoAgent:
            fresh = kept.changed(wanted)
            if wanted:
                fresh.save(folder / "preferences.json")
            return fresh

    fresh = asyncio.run(act())
    if damage:
        click.echo(damage, err=True)
    emit(PREFERENCES, fresh, as_json, _preferences_text(fresh))


@click.command(short_help="Show what this computer did.")
@click.option("-n", "most", type=click.IntRange(1, 100_000), default=50, show_default=True, help="So many lines.")
@home_option
@json_option
def log(most: int, home: Path | None, as_json: bool) -> None:
    """Show what this computer did.

    Oldest first; also while no client runs.
    """
    from dsage.cli.output import emit
    from dsage_client.chronicle import Chronicle

    folder = _folder(home)
    lines = Chronicle(folder / "log", folder / "done.jsonl").lines(most)
    emit(LOG, lines, as_json, "\n".join(lines) or "nothing happened here yet")


@click.command(short_help="Open the manager: all about this computer's work, in the browser.")
@click.argument("invite", metavar="[LINK]", default="")
@click.option("--print", "print_only", is_flag=True, help="Print the address (good once, for a minute); open nothing.")
@home_option
def manager(invite: str, print_only: bool, home: Path | None) -> None:
    """Open the manager: all about this computer's work, in the browser.

    With an invite LINK it asks first whether to join. If no client runs yet, it is started.
    """
    folder = _folder(home)
    if invite:
        Link.parse(invite)
    try:
        address = _ask(home, lambda desk: desk.manager(invite))
    except NoAgent:
        asyncio.run(_begun(folder, usual=home is None))
        address = _ask(home, lambda desk: desk.manager(invite))
    if print_only or not _browse(address):
        click.echo(address)


async def _begun(folder: Path, *, usual: bool) -> None:
    """Start the client, as the package's service where there is one, and wait for its door. Raises NoAgent."""
    import subprocess
    import sys

    from dsage_client.door.desk import Desk
    from dsage_client.tray.wishes import UNIT, can_start

    if usual and can_start():
        service = await asyncio.create_subprocess_exec("systemctl", "--user", "start", UNIT)
        started = await service.wait() == 0
    else:
        started = False
    if not started:
        arguments = ["join"] if usual else ["join", "--home", str(folder.parent)]
        await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "dsage", *arguments,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    async with asyncio.timeout(STARTING_S):
        while True:
            try:
                async with await Desk.open(folder):
                    return
            except NoAgent:
                await asyncio.sleep(0.1)


@click.command("me", short_help="Open your own page at a server, in the browser.")
@click.argument("server", default="")
@click.option("--print", "print_only", is_flag=True, help="Print the address (good once, for a minute); open nothing.")
@home_option
def me(server: str, print_only: bool, home: Path | None) -> None:
    """Open your own page at a server, in the browser.

    It has what your computers earned, what waits to be checked, and what others may see of you. SERVER (its id or
    address) is needed only if this computer works for several. Without a browser, the address is printed.
    """
    address = _ask(home, lambda desk: desk.page(server))
    if print_only or not _browse(address):
        click.echo(address)


@click.command(short_help="Let one more of your computers work for your account.")
@click.argument("server", default="")
@home_option
def link(server: str, home: Path | None) -> None:
    """Let one more of your computers work for your account.

    Prints a link, good once and for ten minutes: type `dsage join` with it on the other computer. SERVER is needed
    only if this computer works for several.
    """
    click.echo(_ask(home, lambda desk: desk.link(server)))


@click.command(short_help="Hand work back and leave: one server, or all.")
@click.argument("server", default="")
@click.option("--erase", is_flag=True, help="Remove keys, preferences and data here, and the account on the servers.")
@home_option
@yes_option
def leave(server: str, erase: bool, home: Path | None, yes: bool) -> None:
    """Hand work back and leave: one server, or all.

    Units go back to the server at once. With SERVER (its id or address) only that one is left. Without it, the client
    ends and starts no more with your session; --erase removes all that it kept. An account that is erased leaves its
    credit in the sums, without its name; a server that cannot be told to erase it stays joined. A package is removed
    afterwards by the system's own tools.
    """
    from dsage.cli.asking import sure
    from dsage.home import Home

    whose = Home() if home is None else Home(home.absolute())
    if erase:
        sure("the key of this computer's account is removed for good", yes)
    for told in asyncio.run(_left(whose.client, server, erase)):
        click.echo(told)
    if not server:
        from dsage_client.install.leaving import leave as remove

        _await_end(whose.client)
        for path in remove(whose, _switch(), erase=erase):
            click.echo(f"removed {path}")
        from dsage_client.install.screensaver import Saver

        for path in Saver(Path.home(), whose.client).release():
            click.echo(f"{path} is as it was")


def _await_end(folder: Path) -> None:
    """Wait until the agent that was told to stop has gone. Raises Conflict if it does not."""
    import time

    from dsage.errors import Conflict
    from dsage_client.membership import locked
    from dsage_client.settings import Settings

    ends = time.monotonic() + STOPPING_S
    while folder.exists():
        try:
            with locked(Settings(folder=folder).lock_file):
                return
        except Conflict:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


async def _left(folder: Path, server: str, erase: bool) -> list[str]:
    """Leave through the agent if one runs, else directly; return what happened."""
    from dsage.errors import NotFound
    from dsage_client import parts
    from dsage_client.door.desk import Desk
    from dsage_client.settings import Settings

    try:
        async with await Desk.open(folder) as desk:
            servers = {each.server: each.url for each in (await desk.status()).servers}
            chosen = {id: url for id, url in servers.items() if server in ("", id, url)}
            for each, url in chosen.items():
                chosen[each] = url + parts.parting(await desk.leave(each, erase=erase), erase=erase)
            if not server:
                await desk.stop()
    except NoAgent:
        chosen = await _left_directly(Settings(folder=folder), server, erase)
    if server and not chosen:
        raise NotFound(f"this computer does not work for {server!r}", hint="`dsage status` lists its servers.")
    return [f"left {url}" for url in chosen.values()]


async def _left_directly(settings: Settings, server: str, erase: bool) -> dict[str, str]:
    """Leave servers while no agent runs; return their addresses by id, with what came of it."""
    from dsage_client import parts
    from dsage_client.membership import Membership, locked

    chosen: dict[str, str] = {}
    if settings.servers.parent.is_dir():
        with locked(settings.lock_file):
            for own in parts.known(settings):
                member = Membership.load(own.membership_file)
                if member is not None and server in ("", member.server.server_id, member.server.url):
                    left = await parts.farewell(own, member, erase=erase)
                    parts.forget(own)
                    chosen[own.folder.name] = member.server.url + parts.parting(left, erase=erase)
    return chosen


def _switch() -> Switch:
    import os

    from dsage_client.install.switch import Switch

    return Switch(Path.home(), environ=dict(os.environ))


def _browse(address: str) -> bool:
    import webbrowser

    return webbrowser.open(address)


def _folder(home: Path | None) -> Path:
    from dsage.home import Home

    return (Home() if home is None else Home(home.absolute())).client


def _ask(home: Path | None, wish: Callable[[Desk], Awaitable[T]]) -> T:
    async def ask() -> T:
        from dsage_client.door.desk import Desk

        async with await Desk.open(_folder(home)) as desk:
            return await wish(desk)

    return asyncio.run(ask())


async def _status(folder: Path) -> Status:
    """Return what the agent says or, if none runs, what the last one said when it stopped."""
    import msgspec

    from dsage_client.door.desk import Desk
    from dsage_client.door.words import Status
    from dsage_client.guest.reasons import Reason, Standing, Work
    from dsage_client.guest.sentences import sentence

    try:
        async with await Desk.open(folder) as desk:
            return await desk.status()
    except NoAgent:
        try:
            last = msgspec.json.decode((folder / "status.json").read_bytes(), type=Status)
        except (OSError, msgspec.DecodeError):
            raise NoAgent("no client runs here, and none has") from None
        if last.reason is Reason.STOPPED or last.work is Work.LEAVE:
            return last
        gone = Standing(work=Work.LEAVE, reason=Reason.STOPPED)
        return msgspec.structs.replace(
            last, work=Work.LEAVE, reason=Reason.STOPPED, sentence=sentence(gone, now=last.at), running=[], until=None
        )


def _show(found: Status, as_json: bool) -> None:
    from dsage.cli.output import colour, emit, hanging
    from dsage_client.door.words import SCHEMA
    from dsage_client.guest.reasons import Work

    shades = {Work.RUN: "green", Work.FINISH: "green", Work.HOLD: "yellow", Work.LEAVE: "yellow"}
    lines = [colour(found.sentence, shades[found.work])]
    for unit in found.running:
        done = "" if unit.fraction is None else f", {unit.fraction:.0%} done"
        held = ", stopped" if unit.held else ""
        lines.append(f"  unit {unit.unit} of {unit.project} ({unit.title}){done}{held}")
    for server in found.servers:
        credit = "" if server.granted is None else f"; credit {server.granted:,.1f}"
        pending = f", {server.pending:,.1f} waits to be checked" if server.pending else ""
        lines.append(hanging("  ", f"{server.name}, as {server.pseudonym}{credit}{pending}: {server.sentence}"))
    if found.notice:
        lines.append(found.notice)
    emit(SCHEMA, found, as_json, "\n".join(lines))


def _changes(texts: tuple[str, ...], kept: Preferences) -> dict[str, Any]:
    """Return changes as plain data: `in_use.percent=25` changes one field of a part, `a,b` is a list of words."""
    import msgspec

    present: dict[str, Any] = msgspec.to_builtins(kept)
    wanted: dict[str, Any] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark:
            raise UsageError(f"{text!r} changes nothing", hint="Write NAME=VALUE, such as when=idle.")
        first, _, rest = name.partition(".")
        given = _value(value, wanted.get(first, present.get(first)), whole=not rest)
        if rest:
            before = wanted.get(first, present.get(first))
            wanted[first] = (before if isinstance(before, dict) else {}) | {rest: given}
        else:
            wanted[first] = given
    return wanted


def _value(text: str, before: Any, *, whole: bool) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        pass
    if text in ("yes", "no", "on", "off"):
        return text in ("yes", "on")
    if whole and isinstance(before, (list, tuple)):
        return [word.strip() for word in text.split(",") if word.strip()]
    return text


def _preferences_text(preferences: Preferences) -> str:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(preferences)
    flat = {
        f"{name}.{inner}" if isinstance(value, dict) else name: each
        for name, value in fields.items()
        for inner, each in (value.items() if isinstance(value, dict) and value else [("", value)])
    }
    width = max(map(len, flat))
    return "\n".join(f"{name:<{width}}  {msgspec.json.encode(value).decode()}" for name, value in flat.items())
