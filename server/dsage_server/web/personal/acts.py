"""What the buttons of the personal pages do. Each is a form; a browser is then led back to a page that says so.

What is said is a short word in the address that stands for a sentence: nobody can make a page say what they wish.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import Connection, select

from dsage import wire
from dsage.errors import NotAllowed, NotFound, UsageError
from dsage.trust.invite import Link
from dsage_server.store import accounts, consents, hosts, passkeys, recovery, teams, visits
from dsage_server.store.leases import Caller
from dsage_server.store.schema import host
from dsage_server.store.visits import Role
from dsage_server.web.forms import form_of
from dsage_server.web.page import whole
from dsage_server.web.personal.mine import Mine
from dsage_server.web.personal.privacy import COUNTRIES
from dsage_server.web.personal.serving import Serving
from dsage_server.web.visitors import PRIVATE

Dismiss = Callable[[Caller], Awaitable[None]]
"""Takes back at once what a computer holds that is not a volunteer's any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """The handlers that change something."""

    serving: Serving
    dismiss: Dismiss

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        number = r"{number:\d+}"
        app.router.add_post("/me/consents", self.consents)
        app.router.add_post("/me/team", self.team)
        app.router.add_post(f"/me/devices/{number}/revoke", self.revoke)
        app.router.add_post(f"/me/browsers/{number}/end", self.end_browser)
        app.router.add_post("/me/browsers/end", self.end_others)
        app.router.add_post(f"/me/passkeys/{number}/remove", self.remove_passkey)
        app.router.add_post("/me/recovery", self.new_recovery)
        app.router.add_post("/me/erase", self.erase)

    async def consents(self, request: web.Request) -> web.Response:
        """Let others see what is ticked, and no more."""
        mine, form = await self.serving.mine(request), await form_of(request)
        country = str(form.get("country", ""))
        if country and country not in COUNTRIES:
            raise UsageError("there is no such country", hint="Choose one from the list.")
        wishes: dict[str, bool | str] = {name: name in form for name in consents.CONSENTS}
        wishes[consents.COUNTRY] = country
        await self._write(lambda c: consents.choose(c, mine.number, wishes, mine.now, read=True))
        return _to("/me/privacy?did=saved")

    async def team(self, request: web.Request) -> web.Response:
        """Found, join, leave or lead a team."""
        mine, form = await self.serving.mine(request), await form_of(request)
        do = str(form.get("do", ""))
        said = {"create": "founded", "join": "joined", "leave": "left", "lead": "leads"}
        if do not in said:
            raise UsageError("that cannot be done about a team", hint="Use the buttons of the page.")
        wish = wire.TeamWish(do=do, name=str(form.get("name", "")), code=code_of(str(form.get("link", ""))))  # type: ignore[arg-type]  # one of `said`
        await self._write(lambda c: teams.act(c, mine.number, wish, mine.now))
        return _to(f"/me/team?did={said[do]}")

    async def revoke(self, request: web.Request) -> web.Response:
        """Take a lost computer out of the account: its key opens nothing any more, and its work goes to others."""
        mine, number = await self.serving.mine(request), _number(request)

        def part(connection: Connection) -> Caller | None:
            key = hosts.revoke(connection, mine.number, number, mine.now)
            visits.withdraw_links(connection, Role.VOLUNTEER, mine.visit.subject)
            return None if key is None else Caller(host=number, volunteer=mine.number, key=key)

        gone = await self._write(part)
        if gone is None:
            raise NotFound("you have no such computer")
        await self.dismiss(gone)
        return _to("/me/devices?did=revoked")

    async def end_browser(self, request: web.Request) -> web.Response:
        """Log one browser out."""
        mine, number = await self.serving.mine(request), _number(request)
        ended = await self._write(lambda c: visits.end(c, Role.VOLUNTEER, mine.visit.subject, number))
        if not ended:
            raise NotFound("no such browser is logged in as you")
        return _to("/me" if number == mine.visit.id else "/me/login?did=ended")

    async def end_others(self, request: web.Request) -> web.Response:
        """Log all browsers out but this one."""
        mine = await self.serving.mine(request)

        def part(connection: Connection) -> None:
            for each in visits.of(connection, Role.VOLUNTEER, mine.visit.subject, mine.now):
                if each.id != mine.visit.id:
                    visits.end(connection, Role.VOLUNTEER, mine.visit.subject, each.id)

        await self._write(part)
        return _to("/me/login?did=ended")

    async def remove_passkey(self, request: web.Request) -> web.Response:
        """Forget a passkey."""
        mine, number = await self.serving.mine(request), _number(request)
        if not await self._write(lambda c: passkeys.remove(c, mine.number, number)):
            raise NotFound("you have no such passkey")
        return _to("/me/login?did=removed")

    async def new_recovery(self, request: web.Request) -> web.Response:
        """Show a new recovery code, this once."""
        mine = await self.serving.mine(request)
        need_fresh(mine)
        code = await self._write(lambda c: recovery.make(c, mine.number, mine.now))
        return await self.serving.shown(request, "me_code", {"code": code, "mine": mine, "here": "/me/login"})

    async def erase(self, request: web.Request) -> web.Response:
        """Forget the account, if that was ticked."""
        mine, form = await self.serving.mine(request), await form_of(request)
        need_fresh(mine)
        if "sure" not in form:
            return _to("/me/privacy?did=unsure")

        def part(connection: Connection) -> list[Caller]:
            own = select(host.c.id, host.c.key).where(host.c.volunteer_id == mine.number, host.c.gone.is_(None))
            machines = [Caller(host=row.id, volunteer=mine.number, key=row.key) for row in connection.execute(own)]
            accounts.erase_account(connection, mine.number, mine.now)
            return machines

        for machine in await self._write(part):
            await self.dismiss(machine)
        answer = await self.serving.shown(request, "me_gone", {"here": "/"})
        self.serving.visitors.forget(answer, Role.VOLUNTEER)
        return answer

    async def _write(self, change: Callable[[Connection], Any]) -> Any:
        return await self.serving.store.write(change)


def need_fresh(mine: Mine) -> None:
    """Raises NotAllowed if the login is not a fresh proof."""
    if not mine.fresh:
        raise NotAllowed(
            "this needs a login that is at most five minutes old",
            hint="Log in again, by a passkey or by “Open my page” on one of your computers, and then do it.",
        )


def code_of(text: str) -> str:
    """Return the code of a team's invite: of a whole link, or the code itself. Raises UsageError for neither."""
    given = text.strip()
    return Link.parse(given).code if "://" in given else given


def _number(request: web.Request) -> int:
    return int(whole(request.match_info["number"]))


def _to(address: str) -> web.Response:
    """Return the answer that leads a browser to a page by GET, so that a reload repeats nothing."""
    return web.Response(status=303, headers={"Location": address, **PRIVATE})
