"""`dsage login`: remember a server, after checking that it is the one in the link."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Final

import click

from dsage.cli.options import json_option
from dsage.cli.output import emit, say
from dsage.errors import NotAllowed, UsageError
from dsage.home import Home, Login
from dsage.researcher import DEFAULT_KEY, Researcher
from dsage.trust.invite import Link

SCHEMA: Final = "dsage.login/1"


@click.command(short_help="Remember the server that you work with.")
@click.argument("link", type=Link.parse, metavar="LINK")
@click.option("--key", metavar="NAME", help="The code key to sign with (default: the only one here, or `lab`).")
@json_option
def login(link: Link, key: str | None, as_json: bool) -> None:
    """Remember the server that you work with.

    LINK is an invite link of the server, in quotes; its code is not needed. The server is checked against the
    link, and your code key against the server. Looking at runs (`watch`, `results`, `status`) needs no key.
    """
    home = Home()
    stored = dataclasses.replace(link, code="")
    chosen = key or _only_key(home)

    async def check() -> tuple[str, str]:
        async with await Researcher.open(home, stored, chosen) as api:
            name = (await api.hello()).name
            try:
                return name, await api.sign_in()
            except NotAllowed as error:
                if key is not None:
                    raise
                say(f"You can look, but not submit yet: {error.message}.\n  {error.hint}")
                return name, ""

    server_name, signed_in_as = asyncio.run(check())
    Login(link=str(stored), key=chosen).save(home)
    data = {"server": stored.server_id, "name": server_name, "url": stored.url, "signed_in_as": signed_in_as}
    who = f" as {signed_in_as}" if signed_in_as else ""
    emit(SCHEMA, data, as_json, f"logged in to {server_name} ({stored.url}){who}")


def _only_key(home: Home) -> str:
    """Return the name of the only code key here, `lab` if there is none. Raises UsageError if there are several."""
    found = home.code_key_names()
    if len(found) > 1 and DEFAULT_KEY not in found:
        raise UsageError(f"there are {len(found)} code keys here: {', '.join(found)}", hint="Choose one by --key.")
    return found[0] if len(found) == 1 else DEFAULT_KEY
