"""All of the personal pages, put into the application that serves the site."""

from __future__ import annotations

from aiohttp import web

from dsage_server.store.leases import Caller
from dsage_server.web.personal.acts import Acts, Dismiss
from dsage_server.web.personal.entering import Entering
from dsage_server.web.personal.serving import Serving
from dsage_server.web.personal.ways import Ways


async def later(_: Caller) -> None:
    """Let what a computer holds come back when its time is over: where there are pages, and no scheduler."""


def add_to(app: web.Application, serving: Serving, dismiss: Dismiss = later) -> None:
    """Add what is read, what is done, and the ways in."""
    serving.add_to(app)
    Acts(serving=serving, dismiss=dismiss).add_to(app)
    Ways(serving=serving).add_to(app)
    Entering(serving=serving).add_to(app)
