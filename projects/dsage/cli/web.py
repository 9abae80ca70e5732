"""`dsage web`: a researcher's own pages, in a browser that this logs in."""

from __future__ import annotations

import asyncio
import webbrowser
from typing import Final

import click

from dsage.cli.opening import can_browse
from dsage.cli.options import json_option, key_option, server_option
from dsage.cli.output import emit, say
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.invite import Link
from dsage.wire import PageLink

SCHEMA: Final = "dsage.page-link/1"


@click.command(short_help="Open the pages of your runs in a browser.")
@click.option("--print", "only_print", is_flag=True, help="Print the link, and open nothing.")
@server_option
@key_option
@json_option
def web(only_print: bool, server: Link | None, key: str | None, as_json: bool) -> None:
    """Open the pages of your runs in a browser.

    The link logs one browser in as you, once, within a minute: open it only where you mean to. The pages show what
    only you see of your runs, pause, cancel or retry them, and make tokens for programs.
    """

    async def ask() -> PageLink:
        async with await Researcher.open(Home(), server, key) as api:
            return await api.page_link()

    link = asyncio.run(ask())
    if as_json or only_print or not can_browse():
        emit(SCHEMA, link, as_json, link.url)
        say(f"it works once, within {link.valid_s:g} s")
    elif not webbrowser.open(link.url):
        emit(SCHEMA, link, as_json, link.url)
        say("no browser would open it")
