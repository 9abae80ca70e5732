"""The manager's pages, read: each is made anew for who asks, and never kept by the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from dsage.errors import NotFound
from dsage.trust.invite import Link
from dsage.wire import Privacy
from dsage_client.asking import Offer
from dsage_client.door.owner import Owner
from dsage_client.door.words import Membership, Status
from dsage_client.guest.preferences import Preferences
from dsage_client.manager import schedule
from dsage_client.manager.forms import Draft, draft_of, labels
from dsage_client.manager.live import Live
from dsage_client.manager.security import COOKIE, Visitors
from dsage_client.manager.show import Show, lasting
from dsage_client.words import _

NEWEST: Final = 5
HISTORY: Final = 200
LINES: Final = 500
FOLLOWED: Final = {"now": NEWEST, "history": HISTORY}
"""Pages of which more than the state in their head changes, and how many ended units each shows."""


class Pages:
    """The handlers that change nothing, and what all handlers share."""

    def __init__(self, owner: Owner, show: Show, visitors: Visitors, live: Live, now: Callable[[], float]) -> None:
        self.owner = owner
        self._show = show
        self._visitors = visitors
        self._live = live
        self._now = now
        self.typed = ""  # an invite link that the owner clicked elsewhere

    async def now(self, request: web.Request) -> web.Response:
        """What runs, or why nothing does."""
        return await self.answer(request, "now", here=".", done=await self.owner.done(NEWEST))

    async def history(self, request: web.Request) -> web.Response:
        """What ended here."""
        return await self.answer(request, "history", done=await self.owner.done(HISTORY))

    async def log(self, request: web.Request) -> web.Response:
        """The log."""
        return await self.answer(request, "log", lines=await self.owner.log(LINES))

    async def preferences(self, request: web.Request) -> web.Response:
        """All preferences."""
        return await self.preferences_page(request, draft_of(await self.owner.preferences()))

    async def servers(self, request: web.Request) -> web.Response:
        """The servers, with credit, computers and projects."""
        return await self.servers_page(request)

    async def join(self, request: web.Request) -> web.Response:
        """Where a link is pasted."""
        typed, self.typed = self.typed, ""
        return await self.answer(request, "join", here="servers", typed=typed, errors={})

    async def leave(self, request: web.Request) -> web.Response:
        """The question before a server is left."""
        server = await self.membership(request.query.get("server", ""))
        return await self.answer(
            request, "leave", here="servers", server=server.server, name=server.name or server.url
        )  # fmt: skip

    async def erase(self, request: web.Request) -> web.Response:
        """The question before a server is left and forgets the account."""
        return await self.erase_page(request, await self.membership(request.query.get("server", "")))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The stream of what changes on an open page."""
        page = request.query.get("page", "")
        most = FOLLOWED.get(page)

        async def fragments(status: Status) -> dict[str, str]:
            more = {} if most is None else {"done": await self.owner.done(most)}
            context = self._context(request, page, status) | more
            return self._show.fragments("base" if most is None else page, context)

        session = request.cookies.get(COOKIE, "")
        return await self._live.serve(request, fragments, lambda: self._visitors.known(session))

    async def membership(self, server: str) -> Membership:
        """Return one of the servers joined. Raises NotFound."""
        for member in (await self.owner.status()).servers:
            if member.server == server:
                return member
        raise NotFound(_("This computer works for no such server."), hint=_("Look at the page of the servers."))

    async def preferences_page(self, request: web.Request, draft: Draft) -> web.Response:
        """The form of all preferences, as it was filled."""
        return await self.answer(
            request, "preferences", draft=draft, labels=labels(draft), code=400 if draft.errors else 200,
            saver=await self.owner.screensaver(),
        )  # fmt: skip

    async def erase_page(
        self, request: web.Request, server: Membership, *, wrongs: dict[str, str] | None = None
    ) -> web.Response:
        """The same question, with what was wrong in its answer."""
        return await self.answer(
            request, "erase", here="servers", server=server.server, name=server.name or server.url,
            pseudonym=server.pseudonym, others=sum(not device.here for device in server.devices), wrongs=wrongs or {},
            code=400 if wrongs else 200,
        )  # fmt: skip

    async def consent_page(
        self, request: web.Request, number: str, found: Offer, link: Link, shown: Privacy
    ) -> web.Response:
        """What somebody agrees to who joins, and under which name."""
        return await self.answer(
            request, "consent", here="servers", about=found.about, name=found.name, linked=found.linked, offer=number,
            shown=shown, host=urlsplit(link.url).netloc, when_said=times_said(await self.owner.preferences()),
        )  # fmt: skip

    async def servers_page(
        self, request: web.Request, *, asked: str = "", share: str = "", wrongs: dict[str, str] | None = None
    ) -> web.Response:
        """The servers, with what is wrong in the form of the one that was asked for."""
        preferences = await self.owner.preferences()
        return await self.answer(
            request, "servers", shares=preferences.shares, refused=preferences.refused, asked=asked,
            share_texts={asked: share} if wrongs else {}, wrongs=wrongs or {}, code=400 if wrongs else 200,
        )  # fmt: skip

    async def answer(
        self, request: web.Request, template: str, *, code: int = 200, here: str | None = None, **more: Any
    ) -> web.Response:
        """Return a page about the status as it is."""
        context = self._context(request, template, await self.owner.status()) | more
        context["here"] = template if here is None else here
        text = self._show.page(template, context)
        return web.Response(status=code, text=text, content_type="text/html", charset="utf-8")

    def _context(self, request: web.Request, template: str, status: Status) -> dict[str, Any]:
        return {
            "status": status, "names": {member.server: member.name or member.url for member in status.servers},
            "now": self._now(), "template": template, "here": template, "form_key": self._visitors.form_key,
            "did": _did(request.query.get("did", "")),
        }  # fmt: skip


def times_said(preferences: Preferences) -> str:
    """Return in words when a computer with these preferences computes."""
    said = {
        "idle": _("Only while nobody uses this computer: after %(time)s without a touch.")
        % {"time": lasting(preferences.idle_after_s)},
        "always": _("Also while you use this computer, with the limits you set."),
        "never": _("Not before you choose so: your preferences say never."),
    }[preferences.when]
    if preferences.hours:
        said += " " + _("At these hours: %(hours)s.") % {"hours": schedule.said(preferences.hours)}
    if not preferences.on_battery:
        said += " " + _("Not on battery.")
    return said


def _did(what: str) -> str:
    return {
        "saved": _("Saved."),
        "joined": _("This computer has joined. Its first work comes by itself."),
        "left": _("This computer has left the server."),
        "untold": _("This computer has left. The server could not be told: it finds out when no more answers come."),
        "erased": _("This computer has left, and the server has forgotten your account."),
        "kept": _("This computer has left. The account stays with your other computers."),
        "shown": _("Saved: the server shows this from now on, and no more."),
        "viewed": _("The full-screen view opens on your screen. A key or the mouse ends it."),
        "chosen": _("DSage is your screensaver. The settings you had are kept beside the new ones."),
    }.get(what, "")
