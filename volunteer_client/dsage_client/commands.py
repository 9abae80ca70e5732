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
from dsage.errors import NoAgent
from dsage.trust.invite import Link

if TYPE_CHECKING:
    from dsage_client.door.desk import Desk
    from dsage_client.door.words import Status
    from dsage_client.guest.preferences import Preferences
    from dsage_client.install.switch import Switch

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

PREFERENCES: Final = "dsage.preferences/1"
LOG: Final = "dsage.log/1"
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
    from dsage_client.guest import written

    folder = _folder(home)
    kept, damage = preferred.load(folder / "preferences.json")
    wanted = written.changes(changes, kept)

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
    emit(PREFERENCES, fresh, as_json, written.text_of(fresh))


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
    from dsage_client.farewell import await_end, left

    whose = Home() if home is None else Home(home.absolute())
    if erase:
        sure("the key of this computer's account is removed for good", yes)
    for told in asyncio.run(left(whose.client, server, erase=erase)):
        click.echo(told)
    if not server:
        from dsage_client.install.leaving import leave as remove

        await_end(whose.client)
        for path in remove(whose, _switch(), erase=erase):
            click.echo(f"removed {path}")
        from dsage_client.install.screensaver import Saver

        for path in Saver(Path.home(), whose.client).release():
            click.echo(f"{path} is as it was")


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
