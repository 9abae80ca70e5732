"""`dsage open`: the page of a run, or of the server, in a browser."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from typing import Final

import click

from dsage.cli.options import json_option, server_option
from dsage.cli.output import emit, say
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.invite import Link

SCHEMA: Final = "dsage.page/1"


@click.command("open", short_help="Open the page of a run in a browser.")
@click.argument("run", type=int, required=False, metavar="[ID]")
@server_option
@json_option
def open_page(run: int | None, server: Link | None, as_json: bool) -> None:
    """Open the page of a run in a browser.

    Without ID, the server's own page. The address is printed too; without a browser, or with --json, it only is.
    """

    async def address() -> str:
        async with await Researcher.open(Home(), server) as api:
            base = (await api.hello()).pages_url.rstrip("/")
            return f"{base}/run/{(await api.run(run)).run}" if run is not None else f"{base}/"

    url = asyncio.run(address())
    emit(SCHEMA, {"url": url, "run": run}, as_json, url)
    if not as_json and can_browse() and not webbrowser.open(url):
        say("no browser would open it")


def can_browse() -> bool:
    """Say whether a person is here, and a display for a browser."""
    shown = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.stdout.isatty() and bool(shown or os.environ.get("BROWSER"))
