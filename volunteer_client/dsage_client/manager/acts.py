"""What the manager's buttons do. Each act is a form that these pages sent; a browser is then led back to a page."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from dsage.errors import DSageError, UsageError
from dsage.trust.invite import Link
from dsage.wire import About
from dsage_client.manager.forms import EDITORS, SHARE, Draft, changes_of, read_draft
from dsage_client.manager.pages import Pages, times_said
from dsage_client.manager.schedule import MAX_WINDOWS, Row
from dsage_client.manager.security import Fields, form
from dsage_client.words import _

Ask: TypeAlias = Callable[[Link], Awaitable[About]]

MAX_OFFERS: Final = 16
"""Links that were looked at and not agreed to yet; the oldest go first."""


class Acts:
    """The handlers that change something. `ask` asks the server behind a link who it is."""

    def __init__(self, pages: Pages, ask: Ask) -> None:
        self._pages = pages
        self._owner = pages.owner
        self._ask = ask
        self._offers: dict[str, str] = {}

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
            about = await self._ask(link)
        except DSageError as error:
            wrong = f"{sentence(error.message)} {error.hint}"
            return await self._pages.answer(
                request, "join", here="servers", code=400, typed=text[:1000], errors={"link": wrong}
            )
        offer = secrets.token_urlsafe(16)
        self._offers[offer] = text
        while len(self._offers) > MAX_OFFERS:
            del self._offers[next(iter(self._offers))]
        return await self._pages.answer(
            request, "consent", here="servers", about=about, offer=offer, host=urlsplit(link.url).netloc,
            when_said=times_said(await self._owner.preferences()),
        )  # fmt: skip

    async def agree(self, request: web.Request) -> web.Response:
        """Join the server that was looked at."""
        fields = await form(request)
        link = self._offers.pop(_field(fields, "offer"), "")
        if not link:
            raise UsageError(_("This offer was taken up or is too old."), hint=_("Paste the link again."))
        await self._owner.join(link, public=bool(_field(fields, "public")))
        return _to("servers?did=joined")

    async def leave(self, request: web.Request) -> web.Response:
        """Leave a server."""
        server = (await self._pages.membership(_field(await form(request), "server"))).server
        await self._owner.leave(server)
        return _to("servers?did=left")

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


def _to(address: str) -> web.Response:
    """Return the answer that leads a browser to a page by GET, so that a reload repeats nothing."""
    return web.Response(status=303, headers={"Location": address})
