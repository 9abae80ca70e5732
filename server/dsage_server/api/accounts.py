"""What a server says of itself before somebody joins, and what a volunteer's computers ask about their account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiohttp import web
from sqlalchemy import Connection, func, select

from dsage import wire
from dsage.errors import Conflict, InviteRefused, LoggedOut
from dsage.trust.release import Release
from dsage_server.api.declared import HOST, Sealed, call
from dsage_server.api.http import body, reply
from dsage_server.hub import Hub
from dsage_server.published import Published
from dsage_server.sessions import Session
from dsage_server.shared import Shared
from dsage_server.store import accounts, earned, hosts, teams, visits
from dsage_server.store.leases import Caller
from dsage_server.store.schema import replica
from dsage_server.store.welcome import runs_here

MAX_WISH_BYTES: Final = 1 << 10
LEADERBOARD: Final = "/leaderboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The handlers. `about` holds what never changes of the reply to whoever has not joined; `pages_url` is where the
    volunteers' own pages are, also where only this computer sees them."""

    hub: Hub
    who: Callable[[web.Request, str], Session]
    """Return the session of a request in a role. Raises LoggedOut or NotAllowed."""
    about: wire.About
    published: Published
    pages_url: str = ""
    kept: Shared[wire.About] = field(default_factory=Shared)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/about", self.say),
            web.get("/v1/release", self.release),
            web.post("/v1/name", self.name),
            web.get("/v1/account", self.account),
            web.post("/v1/account/link", self.link),
            web.post("/v1/account/page-link", self.page_link),
            web.post("/v1/account/privacy", self.privacy),
            web.post("/v1/account/leave", self.leave),
            web.get("/v1/account/team", self.team),
            web.post("/v1/account/team", self.change_team),
            web.get("/v1/account/badges", self.badges),
        ]

    @call(gives=wire.About)
    async def say(self, request: web.Request) -> web.Response:
        """What runs here, for whom, and which client to take: made once a second for everybody who asks."""

        def look(connection: Connection) -> wire.About:
            return msgspec.structs.replace(
                self.about, projects=accounts.offers(connection), welcome=runs_here(connection)
            )

        async def make() -> wire.About:
            said = await self.hub.store.read(look)
            return msgspec.structs.replace(said, packages=self.published.packages())

        return reply(await self.kept.get("about", make))

    @call(gives=Sealed(Release))
    async def release(self, request: web.Request) -> web.Response:
        """The root-signed notice of the clients that are published; for whoever wants to know of a newer one."""
        return reply(self.published.release())

    @call(takes=wire.NameWish, gives=wire.NameOffer, errors=(InviteRefused,))
    async def name(self, request: web.Request) -> web.Response:
        """What somebody would be called who joins with a code; asked again, another name."""
        wish, now = await body(request, wire.NameWish, MAX_WISH_BYTES), self.hub.clock()
        return reply(await self.hub.store.read(lambda c: hosts.offer_name(c, wish.code, now)))

    @call(gives=wire.AccountView, auth=HOST)
    async def account(self, request: web.Request) -> web.Response:
        """The account of the host that asks."""
        caller = self._caller(request)
        page = self.about.pages_url and self.about.pages_url + LEADERBOARD
        return reply(await self.hub.store.read(lambda c: accounts.view(c, caller, page)))

    @call(gives=wire.LinkCode, auth=HOST)
    async def link(self, request: web.Request) -> web.Response:
        """A code for one more computer of the same volunteer."""
        caller, now = self._caller(request), self.hub.clock()
        return reply(await self.hub.store.write(lambda c: accounts.link_code(c, caller.volunteer, now)))

    @call(gives=wire.PageLink, auth=HOST)
    async def page_link(self, request: web.Request) -> web.Response:
        """An address that logs a browser in to the volunteer's own page."""
        caller, now = self._caller(request), self.hub.clock()

        def make(connection: Connection) -> str:
            if not hosts.is_here(connection, caller.host):
                raise LoggedOut("this computer is not one of the account's any more")
            return visits.make_link(connection, visits.Role.VOLUNTEER, str(caller.volunteer), now)

        code = await self.hub.store.write(make)
        return reply(wire.PageLink(url=f"{self.pages_url}/login/{code}", valid_s=visits.LINK_S))

    @call(takes=wire.Privacy, gives=wire.Privacy, auth=HOST)
    async def privacy(self, request: web.Request) -> web.Response:
        """Show what the volunteer wishes, and no more."""
        caller = self._caller(request)
        wish, now = await body(request, wire.Privacy, MAX_WISH_BYTES), self.hub.clock()
        await self.hub.store.write(lambda c: accounts.set_privacy(c, caller.volunteer, wish, now))
        return reply(wish)

    @call(gives=wire.TeamView, auth=HOST)
    async def team(self, request: web.Request) -> web.Response:
        """The team of the volunteer who asks."""
        caller, now = self._caller(request), self.hub.clock()
        return reply(await self.hub.store.read(lambda c: teams.look(c, caller.volunteer, now)))

    @call(takes=wire.TeamWish, gives=wire.TeamView, auth=HOST, errors=(InviteRefused, Conflict))
    async def change_team(self, request: web.Request) -> web.Response:
        """Make a team, join or leave one, invite others, or take over from a founder who has long been silent."""
        caller, now = self._caller(request), self.hub.clock()
        wish = await body(request, wire.TeamWish, MAX_WISH_BYTES)
        return reply(await self.hub.store.write(lambda c: teams.act(c, caller.volunteer, wish, now)))

    @call(gives=wire.BadgesView, auth=HOST)
    async def badges(self, request: web.Request) -> web.Response:
        """What the volunteer who asks has earned for good, and for how long without a break."""
        caller, now = self._caller(request), self.hub.clock()
        return reply(await self.hub.store.read(lambda c: earned.badges_of(c, caller.volunteer, now)))

    @call(takes=wire.Leave, gives=wire.Left, auth=HOST)
    async def leave(self, request: web.Request) -> web.Response:
        """A host goes: what it holds goes to others, and its key opens nothing any more."""
        session, caller = self.who(request, "host"), self._caller(request)
        wish = await body(request, wire.Leave, MAX_WISH_BYTES)
        held = await self.hub.store.read(lambda c: _held(c, caller.host))
        now = self.hub.clock()
        left = await self.hub.store.write(lambda c: accounts.leave(c, caller, erase=wish.erase, now=now))
        await dismiss(self.hub, Caller(host=session.host, volunteer=session.volunteer, key=session.key))
        return reply(msgspec.structs.replace(left, returned=held))

    def _caller(self, request: web.Request) -> hosts.Known:
        session = self.who(request, "host")
        return hosts.Known(host=session.host, volunteer=session.volunteer, pseudonym="")


async def dismiss(hub: Hub, caller: Caller) -> None:
    """A host has gone, by its own wish or its owner's: what it holds goes to others, and no token of its key is
    honoured by this process any more."""
    hub.sessions.drop_keys({caller.key})
    await hub.exchanges.hand_back(caller)


def _held(connection: Connection, host: int) -> int:
    query = select(func.count()).select_from(replica)
    held: int = connection.execute(query.where(replica.c.host_id == host, replica.c.state == "leased")).scalar_one()
    return held
