"""`/leaderboard?me=1`: where the visitor stands, which is another page for everybody and so is kept by nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import Connection, select

from dsage_server.store.boards import Horizon
from dsage_server.store.engine import Store
from dsage_server.store.schema import credit_sum, volunteer
from dsage_server.store.visits import Role
from dsage_server.web.public.leaderboard import LEADERBOARD
from dsage_server.web.visitors import PRIVATE, Visitors

MY_PAGE: Final = "/me"
MY_RANK: Final = "/me#rank"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The handler: the leaderboard itself, as `board` answers it, for whoever does not ask for their own place."""

    store: Store
    visitors: Visitors
    board: Handler

    def add_to(self, app: web.Application) -> None:
        """Add the route, which comes before that of the board."""
        app.router.add_get(LEADERBOARD.route, self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The board, or for `me=1` the way to one's own place on it."""
        if request.query.get("me") != "1":
            return await self.board(request)
        return web.Response(status=303, headers={"Location": await self._place(request), **PRIVATE})

    async def _place(self, request: web.Request) -> str:
        visit = await self.visitors.of(request, Role.VOLUNTEER)
        if visit is None:
            return MY_PAGE

        def listed(connection: Connection) -> str | None:
            query = select(volunteer.c.pseudonym).join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
            found: str | None = connection.execute(
                query.where(volunteer.c.id == visit.volunteer, credit_sum.c.public)
            ).scalar()
            return found

        name = await self.store.read(listed)
        if name is None:
            return MY_RANK
        horizon = request.query.get("horizon", Horizon.RECENT)
        wanted = {"around": name} | ({"horizon": horizon} if horizon in list(Horizon) else {})
        return LEADERBOARD.route + LEADERBOARD.query(LEADERBOARD.asked(wanted))
