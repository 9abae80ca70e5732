"""The leaderboard, and the board that is not about speed."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage.errors import NotFound
from dsage_server.badges import STEADY_WEEKS
from dsage_server.store import earned, views
from dsage_server.web.page import NUMBERED, Asked, Document, Page
from dsage_server.web.public.lines import MOST_PAGES, PAGE_ROWS, Leader, Others, board


class BoardPage(Document, kw_only=True):
    """One page of the leaderboard: `people` are those shown by name, on all pages."""

    schema: ClassVar[str] = "dsage.leaderboard/1"
    page: int
    pages: int
    people: int
    leaders: list[Leader]
    others: Others | None


class SteadyHand(msgspec.Struct, kw_only=True):
    """Somebody on the leaderboard, and in how many of the last whole weeks they had a valid answer."""

    pseudonym: str
    weeks: int


class SteadyHands(Document, kw_only=True):
    """Who gave steadily, however fast their computers are: counted once a day over `of_weeks` weeks, UTC."""

    schema: ClassVar[str] = "dsage.steady/1"
    of_weeks: int
    hands: list[SteadyHand]


def leaderboard(connection: Connection, asked: Asked) -> BoardPage:
    """Return one page of the leaderboard; raises NotFound for a page that there is not."""
    people = views.everybody(connection)[True].people
    pages = min(MOST_PAGES, max(1, -(-people // PAGE_ROWS)))
    if not 1 <= asked.page <= pages:
        raise NotFound(f"the leaderboard has no page {asked.page}", hint=f"It has {pages}.")
    leaders, others = board(connection, asked.now, PAGE_ROWS, (asked.page - 1) * PAGE_ROWS)
    return BoardPage(page=asked.page, pages=pages, people=people, leaders=leaders, others=others)


def steady_hands(connection: Connection, asked: Asked) -> SteadyHands:
    """The board that is not about speed, from what was counted last."""
    found = earned.steady_board(connection, PAGE_ROWS)
    hands = [SteadyHand(pseudonym=name, weeks=weeks) for name, weeks in found]
    return SteadyHands(of_weeks=STEADY_WEEKS, hands=hands)


PAGES: Final = (
    Page(
        template="leaderboard", route="/leaderboard", load=leaderboard, document=BoardPage,
        params={"page": NUMBERED}, live=True,
    ),
    Page(template="", route="/steady", load=steady_hands, document=SteadyHands, period_s=60.0),
)  # fmt: skip
