"""`dsage discoveries`: what one's runs have found, and what others see of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import click

from dsage.cli.asking import sure
from dsage.cli.options import json_option, key_option, server_option, yes_option
from dsage.cli.output import emit, hanging, say
from dsage.cli.values import shown
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.invite import Link
from dsage.wire import DiscoveryView

SCHEMA: Final = "dsage.discoveries/1"
SHOWN: Final = 200
"""Characters of one fact; `--json` has all of them."""


@click.group()
def discoveries() -> None:
    """List what your runs have discovered, or publish it."""


@discoveries.command(name="list")
@server_option
@key_option
@json_option
def list_all(server: Link | None, key: str | None, as_json: bool) -> None:
    """List what your runs have discovered, and whether it is confirmed.

    Nobody else sees a discovery before you publish it.
    """

    async def go() -> list[DiscoveryView]:
        async with await Researcher.open(Home(), server, key) as api:
            return await api.discoveries()

    found = asyncio.run(go())
    emit(SCHEMA, found, as_json, "\n\n".join(map(told, found)) or "no run of yours has declared a discovery")


@discoveries.command()
@click.argument("number", type=int, metavar="N")
@yes_option
@server_option
@key_option
@json_option
def publish(number: int, yes: bool, server: Link | None, key: str | None, as_json: bool) -> None:
    """Show a confirmed discovery to everybody.

    Volunteers are named beside it if they have agreed to that. It cannot be made private again.
    """

    async def go() -> DiscoveryView:
        async with await Researcher.open(Home(), server, key) as api:
            sure(f"discovery {number} will be shown to everybody", yes)
            return await api.publish(number)

    view = asyncio.run(go())
    emit(SCHEMA, [view], as_json, told(view))
    if view.link:
        say(f"its certificate: {view.link}")


def told(view: DiscoveryView) -> str:
    """Return a discovery as people read it in a terminal."""
    fields = {
        **view.facts,
        "check": view.check,
        "found by": view.finder,
        "confirmed by": ", ".join(view.confirmers) or ("a proof of its own" if view.proven else ""),
        "declared": f"{datetime.fromtimestamp(view.declared).astimezone():%Y-%m-%d %H:%M}, run {view.run}, "
        f"unit {view.unit}",
        "waits": view.reason,
        "correction": view.correction,
        "certificate": view.link,
    }
    width = max(len(name) for name, text in fields.items() if text)
    lines = [f"{view.id}  {view.state}: {shown(view.title, SHOWN)}"]
    lines += [hanging(f"   {shown(n, 64):<{width}} ", shown(text, SHOWN)) for n, text in fields.items() if text]
    return "\n".join(lines)
