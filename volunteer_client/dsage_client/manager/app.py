"""The manager as a web application, and the address on this computer where it is served."""

from __future__ import annotations

import asyncio
import http
import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dsage import assets
from dsage.errors import DSageError
from dsage_client.asking import offer
from dsage_client.door.owner import Owner
from dsage_client.manager.acts import Acts, Ask, sentence
from dsage_client.manager.live import Live
from dsage_client.manager.pages import Pages
from dsage_client.manager.security import COOKIE, MAX_FORM, Clock, Visitors, add_headers, guarding
from dsage_client.manager.show import STATIC, Show
from dsage_client.words import _

HOST: Final = "127.0.0.1"
FOREVER: Final = "private, max-age=31536000, immutable"
SHUTDOWN_S: Final = 1.0


class Manager:
    """The pages for the owner of this computer: `app` serves them, `link` lets a browser in.

    `clock` gives seconds for how long addresses and sessions are good, `now` Unix seconds. `ask` asks the server behind
    an invite link who it is, and for a name.
    """

    def __init__(
        self, owner: Owner, *, clock: Clock = time.monotonic, now: Clock = time.time, ask: Ask = offer,
        live: Live | None = None,
    ) -> None:  # fmt: skip
        self._visitors = Visitors(clock)
        self._assets = assets.load(STATIC)
        self._acting: set[asyncio.Future[web.StreamResponse]] = set()
        self.live = live or Live(owner.follow)
        show = Show(self._assets)
        self.app = web.Application(
            middlewares=[_refusing(show), guarding(self._visitors)], client_max_size=MAX_FORM
        )  # fmt: skip
        self.app.on_response_prepare.append(add_headers)
        self.app.on_shutdown.append(self._close_streams)
        self.app.router.add_get("/open/{secret}", self._open, allow_head=False)
        self.app.router.add_get("/static/{name}", self._static)
        self._pages = Pages(owner, show, self._visitors, self.live, now)
        self._add_pages(self._pages, ask)

    def path(self, invite: str = "") -> str:
        """Return a path that lets one browser in, once, within a minute: to join by an invite link, if there is one."""
        self._pages.typed = invite
        return f"/open/{self._visitors.mint()}"

    def _add_pages(self, pages: Pages, ask: Ask) -> None:
        acts = Acts(pages, ask)
        room = f"/{self._visitors.room}/"
        reading: dict[str, Handler] = {
            "": pages.now, "history": pages.history, "servers": pages.servers, "preferences": pages.preferences,
            "log": pages.log, "join": pages.join, "leave": pages.leave, "erase": pages.erase,
            "live": pages.live, "me": acts.me,
        }  # fmt: skip
        doing: dict[str, Handler] = {
            "pause": acts.pause, "resume": acts.resume, "finish": acts.finish, "always": acts.always,
            "preferences": acts.preferences, "server": acts.server, "join": acts.join, "agree": acts.agree,
            "leave": acts.leave, "erase": acts.erase, "link": acts.link, "privacy": acts.privacy, "view": acts.view,
            "screensaver": acts.screensaver,
        }  # fmt: skip
        for name, handler in reading.items():
            self.app.router.add_get(room + name, handler)
        for name, handler in doing.items():
            self.app.router.add_post(room + name, self._whole(handler))

    def _whole(self, handler: Handler) -> Handler:
        """Return a handler that comes to its end also if the browser leaves in the middle."""

        async def act(request: web.Request) -> web.StreamResponse:
            task = asyncio.ensure_future(handler(request))
            self._acting.add(task)
            task.add_done_callback(self._acting.discard)
            return await asyncio.shield(task)

        return act

    async def _open(self, request: web.Request) -> web.Response:
        session = self._visitors.let_in(request.match_info["secret"])
        room = f"/{self._visitors.room}/"
        to = "join" if self._pages.typed else ""
        response = web.Response(status=303, headers={"Location": room + to})
        response.set_cookie(COOKIE, session, path=room, httponly=True, samesite="Strict")
        return response

    async def _static(self, request: web.Request) -> web.Response:
        file: assets.Asset | None = self._assets.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        headers = {
            "Cache-Control": FOREVER if request.query.get("v") == file.version else "no-cache",
            "Content-Type": file.content_type if file.name.endswith(".svg") else f"{file.content_type}; charset=utf-8",
            "Vary": "Accept-Encoding",
        } | ({"Content-Encoding": "gzip"} if packed else {})
        return web.Response(body=file.packed if packed else file.body, headers=headers)

    async def _close_streams(self, _app: web.Application) -> None:
        self.live.close()


class Site:
    """The manager, being served at a port of this computer."""

    def __init__(self, manager: Manager, runner: web.AppRunner, port: int) -> None:
        self._manager = manager
        self._runner = runner
        self.port = port

    def link(self, invite: str = "") -> str:
        """Return an address that lets one browser in, once, within a minute: to join by an invite link, if given."""
        return f"http://{HOST}:{self.port}{self._manager.path(invite)}"

    async def close(self) -> None:
        """End it, with every open page."""
        await self._runner.cleanup()


async def serve(owner: Owner, *, manager: Manager | None = None) -> Site:
    """Serve the manager at a free port of 127.0.0.1. Raises OSError if there is none."""
    served = manager or Manager(owner)
    # With its browser gone, a stream ends at once instead of at its next word.
    runner = web.AppRunner(served.app, access_log=None, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    return Site(served, runner, runner.addresses[0][1])


def _refusing(show: Show) -> Middleware:
    """Return the middleware that turns errors into pages."""

    def page(request: web.Request, status: int, title: str, hint: str) -> web.Response:
        back = "." if COOKIE in request.cookies else ""
        context = {"title": sentence(title), "hint": hint, "code": status, "back": back}
        text = show.page("error", context)
        return web.Response(status=status, text=text, content_type="text/html", charset="utf-8")

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = page(request, error.status, *_words(error.status))
            if "Allow" in error.headers:
                answer.headers["Allow"] = error.headers["Allow"]
            return answer
        except DSageError as error:
            return page(request, error.status, error.message, error.hint)

    return middleware


def _words(status: int) -> tuple[str, str]:
    return {
        404: (_("There is no such page."), _("The first page of the manager leads to all there are.")),
        405: (_("This page cannot be used like that."), _("Use the manager's own buttons.")),
        421: (_("The manager is not served under this name."), _("Open it from the tray, or by `dsage manager`.")),
    }.get(status, (http.HTTPStatus(status).phrase, _("Open the manager again: from the tray, or by `dsage manager`.")))
