"""The public pages, a room for each: its document, what fills it, and its `PAGES`."""

from typing import Final

from dsage_server.web.page import Page
from dsage_server.web.public import (
    audit,
    census,
    discoveries,
    front,
    leaderboard,
    people,
    projects,
    runs,
    status,
    teams,
    units,
)

PAGES: Final[tuple[Page, ...]] = (
    *front.PAGES, *leaderboard.PAGES, *projects.PAGES, *runs.PAGES, *units.PAGES, *discoveries.PAGES, *status.PAGES,
    *census.PAGES, *audit.PAGES, *people.PAGES, *teams.PAGES,
)  # fmt: skip
"""All of them."""
