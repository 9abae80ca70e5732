"""`dsage login`, `whoami` and `logout`: which server is remembered, after checking that it is the one in the link."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import datetime
from typing import Final

import click
import msgspec

from dsage.cli.options import json_option, key_option, server_option
from dsage.cli.output import emit, say
from dsage.errors import NotAllowed, UsageError
from dsage.home import Home, Login
from dsage.researcher import DEFAULT_KEY, Researcher
from dsage.trust.invite import Link
from dsage.trust.keys import fingerprint

SCHEMA: Final = "dsage.login/1"
ME_SCHEMA: Final = "dsage.whoami/1"


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who one is at a server: `researcher` is the name that the root key has certified the key under."""

    server: str
    url: str
    name: str = ""
    fingerprint: str = ""
    researcher: str = ""
    projects: list[str] = []
    expires: float | None = None


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


@click.command(short_help="Say which server and key are used here.")
@server_option
@key_option
@json_option
def whoami(server: Link | None, key: str | None, as_json: bool) -> int:
    """Say which server and key are used here.

    The server is asked what it knows of the key. Exit codes: 0 you can submit, 4 you can only look.
    """

    async def ask() -> tuple[Me, str, str]:
        async with await Researcher.open(Home(), server, key) as api:
            hello = await api.hello()
            try:
                me = me_of(api)
                await api.sign_in()
            except NotAllowed as error:
                return Me(server=api.link.server_id, url=api.link.url, name=hello.name), error.message, error.hint
            return msgspec.structs.replace(me, name=hello.name), "", ""

    me, why_not, hint = asyncio.run(ask())
    lines = [f"server    {me.name} ({me.url})"]
    if me.researcher:
        ends = f"{datetime.fromtimestamp(me.expires or 0).astimezone():%Y-%m-%d}"
        lines += [f"you       {me.researcher}, by the key {me.fingerprint}, until {ends}"]
        lines += [f"projects  {', '.join(me.projects)}"]
    emit(ME_SCHEMA, me, as_json, "\n".join(lines))
    if why_not:
        say(f"you can look, but not submit: {why_not}.\n  {hint}")
    return NotAllowed.exit_status if why_not else 0


@click.command(short_help="Forget the server that you work with.")
@json_option
def logout(as_json: bool) -> None:
    """Forget the server that you work with.

    Keys stay where they are, and runs go on; `dsage login LINK` brings it back.
    """
    home = Home()
    known = Login.load(home)
    home.login.unlink()
    emit(SCHEMA, {"server": known.server.server_id, "url": known.server.url}, as_json)
    say(f"{known.server.url} is forgotten; your keys are still in {home.keys}")


def me_of(api: Researcher) -> Me:
    """Return what the server's root key says of this researcher's key. Raises NotAllowed if there is no key here."""
    public = api.key.public
    found = [known for known in api.chain.root.code_keys if known.key == public]
    return Me(
        server=api.link.server_id,
        url=api.link.url,
        fingerprint=fingerprint(public),
        researcher=found[0].name if found else "",
        projects=sorted({project for known in found for project in known.projects}),
        expires=min((known.expires for known in found), default=None),
    )


def _only_key(home: Home) -> str:
    """Return the name of the only code key here, `lab` if there is none. Raises UsageError if there are several."""
    found = home.code_key_names()
    if len(found) > 1 and DEFAULT_KEY not in found:
        raise UsageError(f"there are {len(found)} code keys here: {', '.join(found)}", hint="Choose one by --key.")
    return found[0] if len(found) == 1 else DEFAULT_KEY
