"""`dsage token`: tokens with which programs look at a researcher's runs, or control them, without the code key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import click
import msgspec

from dsage.cli.options import json_option, key_option, server_option
from dsage.cli.output import emit, say, table
from dsage.cli.values import shown
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.invite import Link
from dsage.wire import TokenView, TokenWish

SCHEMA: Final = "dsage.token/1"
LIST_SCHEMA: Final = "dsage.tokens/1"
DAY_S: Final = 86400.0
T = TypeVar("T")


@click.group()
def token() -> None:
    """Make, list and revoke tokens for programs of yours."""


@token.command()
@click.argument("name")
@click.option("--write", is_flag=True, help="It may also control and drive your runs; without, it only looks.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, help="How long.")
@server_option
@key_option
@json_option
def new(name: str, write: bool, days: float, server: Link | None, key: str | None, as_json: bool) -> None:
    """Make a token, and print it this once.

    NAME says what it is for. It goes into the header `Authorization: Bearer TOKEN` of requests to the machine API,
    and of the JSON and CSV of your own pages. No token brings in new code: that takes your code key.
    """
    wish = TokenWish(name=name, scope="write" if write else "read", lasts_s=days * DAY_S)
    made = _asked(server, key, lambda api: api.make_token(wish))
    emit(SCHEMA, _told(made) | {"secret": made.secret}, as_json, made.secret)
    say(f"token {made.id} is for {made.scope}, until {_moment(made.expires)}; it is not shown again")


@token.command("ls")
@server_option
@key_option
@json_option
def ls(server: Link | None, key: str | None, as_json: bool) -> None:
    """List your tokens, without their secrets."""
    found = _asked(server, key, lambda api: api.tokens())
    rows = [
        [str(each.id), shown(each.name, 40), each.scope, _moment(each.expires), _used(each), _state(each)]
        for each in found
    ]
    text = table(["id", "name", "for", "until", "last used", ""], rows) if rows else ""
    emit(LIST_SCHEMA, [_told(each) for each in found], as_json, text)
    if not found:
        say("no tokens; `dsage token new NAME` makes one")


@token.command()
@click.argument("number", type=click.IntRange(1), metavar="ID")
@server_option
@key_option
@json_option
def revoke(number: int, server: Link | None, key: str | None, as_json: bool) -> None:
    """Let a token open nothing any more, from now on."""
    gone = _asked(server, key, lambda api: api.revoke_token(number))
    emit(SCHEMA, _told(gone), as_json)
    say(f"token {gone.id} ({shown(gone.name, 40)}) opens nothing any more")


def _asked(server: Link | None, key: str | None, ask: Callable[[Researcher], Awaitable[T]]) -> T:
    async def go() -> T:
        async with await Researcher.open(Home(), server, key) as api:
            return await ask(api)

    return asyncio.run(go())


def _told(each: TokenView) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(each)
    del told["secret"]
    return told


def _state(each: TokenView) -> str:
    if each.revoked is not None:
        return f"revoked {_moment(each.revoked)}"
    return "has run out" if each.expires <= time.time() else ""


def _used(each: TokenView) -> str:
    return "never" if each.used is None else _moment(each.used)


def _moment(when: float) -> str:
    return f"{datetime.fromtimestamp(when).astimezone():%Y-%m-%d %H:%M}"
