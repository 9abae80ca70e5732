"""What the manager's buttons do. Each act is a form that these pages sent; a browser is then led back to a page."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from dsage.errors import DSageError, UsageError
from dsage.trust.invite import Link
from dsage.wire import Privacy
from dsage_client.asking import Offer
from dsage_client.door.words import Newcomer
from dsage_client.manager.forms import EDITORS, SHARE, Draft, changes_of, read_draft
from dsage_client.manager.pages import Pages
from dsage_client.manager.schedule import MAX_WINDOWS, Row
from dsage_client.manager.security import Fields, form
from dsage_client.words import _

Ask: TypeAlias = Callable[[Link], Awaitable[Offer]]

MAX_OFFERS: Final = 16
"""Links that were looked at and not agreed to yet, each with the name that was offered; the oldest go first."""


class Acts:
    """The handlers that change something. `ask` asks the server behind a link who it is, and for a name."""

    def __init__(self, pages: Pages, ask: Ask) -> None:
        self._pages = pages
        self._owner = pages.owner
        self._ask = ask
        self._offers: dict[str, tuple[str, str]] = {}

    async def pause(self, request: web.Request) -> web.Response:
        """Pause for as long as was chosen."""
        await self._owner.pause(_field(await form(request), "duration"))
        return _to(".")

    async def resume(self, _request: web.Request) -> web.Response:
        """End a pause, and finishing."""
        await self._owner.resume()
        return _to(".")

    async def finish(self, _request: web.Request) -> web.Response:
        """Begin nothing new."""
        await self._owner.finish()
        return _to(".")

    async def always(self, _request: web.Request) -> web.Response:
        """Compute beside the owner today."""
        await self._owner.always()
        return _to(".")

    async def preferences(self, request: web.Request) -> web.Response:
        """Save the preferences; or add or remove hours in the form, which saves nothing."""
        fields = await form(request)
        draft = read_draft(fields)
        do, _colon, what = _field(fields, "do").partition(":")
        if do in ("add", "remove"):
            _reshape(draft, do, what)
            return await self._pages.preferences_page(request, draft)
        changes = changes_of(draft, await self._owner.preferences())
        if draft.errors:
            return await self._pages.preferences_page(request, draft)
        if changes:
            await self._owner.prefer(changes)
        return _to("preferences?did=saved")

    async def server(self, request: web.Request) -> web.Response:
        """Set a server's share and the projects that are supported; projects that the page did not show stay."""
        fields = await form(request)
        server = (await self._pages.membership(_field(fields, "server"))).server
        share = SHARE.read(_field(fields, "share"))
        if share is None:
            text = _field(fields, "share")
            return await self._pages.servers_page(request, asked=server, share=text, wrongs={"share": SHARE.wrong()})
        shown = {f"{server}/{value}" for name, value in fields if name == "shown"}
        support = {f"{server}/{value}" for name, value in fields if name == "support"}
        preferences = await self._owner.preferences()
        refused = sorted((set(preferences.refused) - shown) | (shown - support))
        await self._owner.prefer({"shares": preferences.shares | {server: round(share)}, "refused": refused})
        return _to("servers?did=saved")

    async def join(self, request: web.Request) -> web.Response:
        """Look at the server behind a link, and ask whether to join it. The link itself stays on this side."""
        text = _field(await form(request), "link").strip()
        try:
            link = Link.parse(text)
            if not link.code:
                raise UsageError(_("This link has no invite code."), hint=_("Ask for an invite link."))
            found = await self._ask(link)
        except DSageError as error:
            wrong = f"{sentence(error.message)} {error.hint}"
            return await self._pages.answer(
                request, "join", here="servers", code=400, typed=text[:1000], errors={"link": wrong}
            )
        return await self._offered(request, secrets.token_urlsafe(16), text, found, Privacy())

    async def agree(self, request: web.Request) -> web.Response:
        """Join the server that was looked at, under the name that was shown; or draw another name."""
        fields = await form(request)
        number = _field(fields, "offer")
        text, name = self._offers.get(number, ("", ""))
        if not text:
            raise UsageError(_("This offer was taken up or is too old."), hint=_("Paste the link again."))
        shown = _shown(fields)
        if _field(fields, "do") == "another":
            return await self._offered(request, number, text, await self._ask(Link.parse(text)), shown)
        await self._owner.join(text, Newcomer(name=name, shown=shown))
        self._offers.pop(number, None)
        return _to("servers?did=joined")

    async def _offered(
        self, request: web.Request, number: str, text: str, found: Offer, shown: Privacy
    ) -> web.Response:
        """Remember a link and the name offered with it under a number, and ask whether to join."""
        self._offers[number] = (text, "" if found.linked else found.name)
        while len(self._offers) > MAX_OFFERS:
            del self._offers[next(iter(self._offers))]
        return await self._pages.consent_page(request, number, found, Link.parse(text), shown)

    async def privacy(self, request: web.Request) -> web.Response:
        """Let others see what is switched on, and no more."""
        fields = await form(request)
        server = (await self._pages.membership(_field(fields, "server"))).server
        await self._owner.privacy(server, _shown(fields))
        return _to("servers?did=shown")

    async def leave(self, request: web.Request) -> web.Response:
        """Leave a server."""
        server = (await self._pages.membership(_field(await form(request), "server"))).server
        left = await self._owner.leave(server)
        return _to("servers?did=untold" if left is None else "servers?did=left")

    async def erase(self, request: web.Request) -> web.Response:
        """Leave a server and let it forget the account, if that was ticked."""
        fields = await form(request)
        server = await self._pages.membership(_field(fields, "server"))
        if not _field(fields, "sure"):
            wrong = _("Nothing was erased: tick this if you want it.")
            return await self._pages.erase_page(request, server, wrongs={"sure": wrong})
        left = await self._owner.leave(server.server, erase=True)
        return _to(f"servers?did={'untold' if left is None else 'erased' if left.erased else 'kept'}")

    async def view(self, _request: web.Request) -> web.Response:
        """Let the session's helper show the full-screen view."""
        await self._owner.view()
        return _to("./?did=viewed")

    async def screensaver(self, _request: web.Request) -> web.Response:
        """Make DSage the owner's screensaver."""
        await self._owner.screensaver(use=True)
        return _to("preferences?did=chosen")

    async def me(self, request: web.Request) -> web.Response:
        """Lead to the owner's own page at a server, by a link that is good once."""
        server = (await self._pages.membership(request.query.get("server", ""))).server
        return _to(await self._owner.page(server))

    async def link(self, request: web.Request) -> web.Response:
        """Show a link for another computer, once."""
        server = (await self._pages.membership(_field(await form(request), "server"))).server
        return await self._pages.answer(request, "link", here="servers", link=await self._owner.link(server))


def sentence(words: str) -> str:
    """Return an error's words as a sentence."""
    whole = words[:1].upper() + words[1:]
    return whole if whole.endswith((".", "!", "?")) else whole + "."


def _reshape(draft: Draft, do: str, what: str) -> None:
    editor, _dash, number = what.partition("-")
    if editor not in EDITORS:
        return
    rows = draft.rows[editor]
    if do == "add" and len(rows) < MAX_WINDOWS:
        rows.append(Row(start="18:00", end="08:00"))
    elif do == "remove" and number.isdecimal() and len(number) < 4 and int(number) < len(rows):
        del rows[int(number)]


def _field(fields: Fields, name: str) -> str:
    return next((value for key, value in fields if key == name), "")


def _shown(fields: Fields) -> Privacy:
    return Privacy(**{name: bool(_field(fields, name)) for name in ("leaderboard", "discoveries", "export")})


def _to(address: str) -> web.Response:
    """Return the answer that leads a browser to a page by GET, so that a reload repeats nothing."""
    return web.Response(status=303, headers={"Location": address})
