"""`dsage admin team`: an operator looks at teams, gives one another name, or closes one."""

from __future__ import annotations

import time

import click
from sqlalchemy import Connection

from dsage.cli.asking import sure
from dsage.cli.options import json_option, yes_option
from dsage.cli.output import count, emit, say
from dsage.home import Home
from dsage_server.store import deeds
from dsage_server.store import teams as kept
from dsage_server.store.place import opened

number_argument = click.argument("number", metavar="TEAM", type=click.IntRange(1))


@click.group("team", short_help="List teams, rename one or close one.")
def teams() -> None:
    """List teams, rename one or close one.

    The server may run meanwhile.
    """


@teams.command()
@json_option
def ls(as_json: bool) -> None:
    """List the teams: number, name, members, credit."""
    with opened(Home().server) as store:
        found = store.read_now(kept.listed)
    rows = [
        {
            "team": row.id, "name": row.name, "members": row.members, "credit": (row.amount_milli or 0) / 1000,
            "created": row.created,
        }
        for row in found
    ]  # fmt: skip
    lines = [f"{row['team']:>6}  {row['name']:<40}  {row['members']:>7}  {row['credit']:,.3f}" for row in rows]
    emit("dsage.teams/1", rows, as_json, "\n".join(lines))


@teams.command()
@number_argument
@click.argument("name")
@json_option
def rename(number: int, name: str, as_json: bool) -> None:
    """Give a team another name: its members keep it and its credit."""

    def change(connection: Connection) -> str:
        called = kept.rename(connection, number, name)
        deeds.record(connection, time.time(), "operator", "renamed", f"team {number}")
        return called

    with opened(Home().server) as store:
        called = store.write_now(change)
    emit("dsage.team-renamed/1", {"team": number, "name": called}, as_json, called)


@teams.command()
@number_argument
@yes_option
@json_option
def close(number: int, yes: bool, as_json: bool) -> None:
    """Close a team for good: nobody is in it any more, and its name is not free again.

    Nobody loses credit: what was granted to its members stays with them and with the closed team.
    """
    sure(f"team {number} is closed for good", yes)
    now = time.time()

    def change(connection: Connection) -> int:
        out = kept.close(connection, number, now)
        deeds.record(connection, now, "operator", "closed", f"team {number}")
        return out

    with opened(Home().server) as store:
        out = store.write_now(change)
    emit("dsage.team-closed/1", {"team": number, "members": out}, as_json, str(number))
    say(f"{count(out, 'member')} had it, and may join others.")
