"""Researchers' pages: a room each for runs, their units, what is done to them, and tokens for programs."""

from __future__ import annotations

from aiohttp import web

from dsage_server.hub import Hub
from dsage_server.web.researchers.desk import Desk
from dsage_server.web.researchers.doing import Doing
from dsage_server.web.researchers.runs import Runs
from dsage_server.web.researchers.tokens import Tokens
from dsage_server.web.researchers.units import Units
from dsage_server.web.visitors import Visitors


def add_to(app: web.Application, hub: Hub, visitors: Visitors) -> None:
    """Add all of them to the application of the pages."""
    desk = Desk(hub=hub, visitors=visitors)
    for room in (Runs(desk), Units(desk), Doing(desk), Tokens(desk)):
        room.add_to(app)
