"""`dsage admin welcome`: a first unit for each computer that joins."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from dsage.bundle import pack
from dsage.cli.options import json_option, key_option
from dsage.cli.output import emit, say
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage_server.scheduling.terms import NEWCOMER
from dsage_server.store.place import opened
from dsage_server.store.welcome import numbers as running_welcomes

WELCOME: Final = "welcome"
"""The project of the gallery that newcomers get a unit of."""


@click.command("welcome")
@click.option("--off", is_flag=True, help="Welcome nobody any more.")
@click.option("--project", metavar="NAME", help="The project to sign it for.  [default: one that your key is for]")
@key_option
@json_option
def welcome(off: bool, project: str | None, key: str | None, as_json: bool) -> None:
    """Have a first small unit ready for each computer that joins: it proves itself, and is paid within seconds.

    The server must run, and drives it; your code key signs it, for 90 days: say this again before they are over. Other
    computers get none of it, and no research waits for it.
    """
    home = Home()
    number, ended = asyncio.run(_welcome(home, key, project, off=off))
    emit("dsage.welcome/1", {"run": number, "ended": ended}, as_json, "" if number is None else str(number))
    if number is None:
        say("Newcomers are not welcomed any more." if ended else "Newcomers were not welcomed before, either.")
    else:
        say(f"Run {number} has a first unit ready for each computer that joins.")


async def _welcome(home: Home, key: str | None, project: str | None, *, off: bool) -> tuple[int | None, list[int]]:
    """Make a new welcome run, unless it is to be `off`, and end those before it; return their numbers."""
    with opened(home.server) as store:
        before = store.read_now(running_welcomes)
    number = None
    async with await Researcher.open(home, key_name=key) as api:
        if not off:
            packed = pack(WELCOME)
            function = construct(packed.function, {})
            number = await api.submit(packed, function, {}, project=project, hosted=True, tags=[NEWCOMER], priority=100)
        for run in before:
            await api.cancel(run)
    return number, before
