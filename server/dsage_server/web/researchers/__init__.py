"""Researchers' pages: a room each for runs, their units, what is done to them, and tokens for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from dsage.account import Count
from dsage_server.hub import Hub
from dsage_server.web.researchers.desk import Desk, Sheet
from dsage_server.web.researchers.doing import Doing
from dsage_server.web.researchers.runs import Runs, RunSheet, RunsSheet
from dsage_server.web.researchers.tokens import Tokens, TokensSheet
from dsage_server.web.researchers.units import Units, UnitSheet, UnitsSheet
from dsage_server.web.visitors import Visitors

TWINS: Final[tuple[tuple[str, type[Sheet], Mapping[str, Any]], ...]] = (
    ("/runs", RunsSheet, {"page": Count}),
    ("/runs/{run}", RunSheet, {}),
    ("/runs/{run}/units", UnitsSheet, {"after": Count, "state": str}),
    ("/runs/{run}/units/{number}", UnitSheet, {}),
    ("/tokens", TokensSheet, {}),
)
"""The pages that programs read, with what may be asked of each."""


def add_to(app: web.Application, hub: Hub, visitors: Visitors) -> None:
    """Add all of them to the application of the pages."""
    desk = Desk(hub=hub, visitors=visitors)
    for room in (Runs(desk), Units(desk), Doing(desk), Tokens(desk)):
        room.add_to(app)
