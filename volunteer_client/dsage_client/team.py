"""`dsage team`: a volunteer's team, at one server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

import click

from dsage.cli.options import json_option
from dsage.errors import NotFound, UsageError
from dsage.trust.invite import Link
from dsage_client.commands import home_option

if TYPE_CHECKING:
    from dsage.wire import TeamView
    from dsage_client.door.desk import Desk

TEAM: Final = "dsage.team/1"

Wish = Literal["show", "create", "join", "invite", "lead", "leave"]


@click.command(short_help="Found, join or leave a team.")
@click.argument("wish", metavar="[create|join|invite|lead|leave]", type=click.Choice(get_args(Wish)), default="show")
@click.argument("what", metavar="[NAME|LINK]", default="")
@click.option("--at", "server", default="", metavar="SERVER", help="Which server: its id or address.")
@home_option
@json_option
def team(wish: str, what: str, server: str, home: Path | None, as_json: bool) -> None:
    """Found, join or leave a team.

    Without a word: show yours. `create NAME` founds one, `join LINK` joins by an invite, `invite` prints one for others
    (the leader's), good for 100 people and 30 days: who has not joined the server joins both by `dsage join LINK`.
    `lead` takes over a team whose founder's computers were silent for 60 days. Credit stays with the team that you were
    in when it was granted.
    """
    from dsage.cli.output import emit
    from dsage.home import Home

    if bool(what) != (wish in ("create", "join")):
        raise UsageError(f"`dsage team {wish}` {'takes nothing more' if what else 'needs one thing more'}")
    folder = (Home() if home is None else Home(home.absolute())).client
    view = asyncio.run(_act(folder, cast(Wish, wish), what, server))
    emit(TEAM, view, as_json, view.code or "\n".join(told(view)))


def told(view: TeamView) -> list[str]:
    """Return what is said of a team."""
    from dsage_client.consent import plain

    if not view.team:
        return ["you are in no team"]
    leads = "you" if view.leads else plain(view.founder) or "a volunteer"
    return [
        plain(view.name),
        f"  members    {view.members}",
        f"  led by     {leads}{', silent for long: `dsage team lead` takes it over' if view.vacant else ''}",
        f"  credit     {view.granted_milli / 1000:,.3f}, lately {view.recent:,.1f} a day",
    ]


async def _act(folder: Path, wish: Wish, what: str, server: str) -> TeamView:
    from dsage.wire import TeamWish
    from dsage_client.door.desk import Desk

    async with await Desk.open(folder) as desk:
        link = Link.parse(what) if wish == "join" else None
        at = await _server(desk, server if link is None else link.server_id)
        if wish == "show":
            return await desk.team(at)
        code = "" if link is None else link.code
        return await desk.team(at, TeamWish(do=wish, name=what if wish == "create" else "", code=code))


async def _server(desk: Desk, named: str) -> str:
    """Return the id of the server that is meant. Raises NotFound, UsageError."""
    joined = (await desk.status()).servers
    found = [each.server for each in joined if named in ("", each.server, each.url)]
    if named and not found:
        raise NotFound(
            f"this computer does not work for {named!r}", hint="`dsage join LINK` joins a server and the team at once."
        )
    if len(found) != 1:
        names = " ".join(found) or "none is joined yet"
        raise UsageError("it is not clear at which server", hint=f"Name one of these by --at: {names}.")
    return found[0]
