"""Who may see the manager: the owner's browser, let in by an address that is good once, and nobody else.

The pages listen on this computer only, but others can reach that: another user's program, a web page in the owner's own
browser, a name made to point here (DNS rebinding). So every request must name this computer, carry the cookie that the
one-time address was swapped for, and, to change anything, come from one of these pages.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from dsage.errors import LoggedOut, NotAllowed, TooLarge, UsageError
from dsage_client.words import _

Clock: TypeAlias = Callable[[], float]
Fields: TypeAlias = list[tuple[str, str]]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

LINK_S: Final = 60.0
"""How long a one-time address is good: time enough for a browser to start."""
MAX_LINKS: Final = 32
"""Addresses that are remembered, used ones included; the oldest go first."""
SESSION_S: Final = 12 * 3600.0
"""A browser that has asked for nothing for so long must be let in anew."""
MAX_SESSIONS: Final = 16
MAX_FORM: Final = 256 << 10
"""The most bytes of a form: preferences with a hundred windows of hours fit."""
MAX_FIELDS: Final = 4000
COOKIE: Final = "dsage_manager"
FORM_KEY: Final = "form_key"
"""The hidden field of every form; pages of others cannot read it."""
HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
"""What this computer may be called. The port is left open, so that `ssh -L` works."""
FORM_TYPE: Final = "application/x-www-form-urlencoded"

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "DSage",
}
"""`data:` is for the marks in the style sheet's own boxes."""


class Visitors:
    """The one-time addresses that were given out and the browsers that were let in, in memory only.

    `clock` gives seconds and never goes back. `room` is the secret part of every page's path: a browser sends cookies
    to every port of a computer, but only to paths below the cookie's own.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[bytes, float | None] = {}
        self._sessions: dict[bytes, float] = {}
        self.room = secrets.token_urlsafe(16)
        self.form_key = secrets.token_urlsafe(32)

    def mint(self) -> str:
        """Return a new secret for a one-time address."""
        secret = secrets.token_urlsafe(32)
        self._links[_digest(secret)] = self._clock() + LINK_S
        while len(self._links) > MAX_LINKS:
            del self._links[next(iter(self._links))]
        return secret

    def let_in(self, secret: str) -> str:
        """Swap the secret of a one-time address for that of a session. Raises NotAllowed the second time, and late."""
        name = _digest(secret)
        good_until = self._links.get(name)
        if name in self._links:
            self._links[name] = None
        if good_until is None or self._clock() > good_until:
            raise NotAllowed(
                _("This address was used before or has run out."),
                hint=_("Open the manager again: from the tray, or by the command `dsage manager`."),
            )
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = self._clock()
        while len(self._sessions) > MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=self._sessions.__getitem__)]
        return session

    def known(self, session: str) -> bool:
        """Whether this is the secret of a browser that was let in and came by lately."""
        name = _digest(session)
        used = self._sessions.get(name)
        if used is None:
            return False
        if self._clock() - used > SESSION_S:
            del self._sessions[name]
            return False
        self._sessions[name] = self._clock()
        return True


def _digest(secret: str) -> bytes:
    """Return the name under which a secret is kept: looking it up tells nothing by its timing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def here(headers: Mapping[str, str]) -> bool:
    """Whether a request asked for this computer by a name of its own."""
    host = headers.get("Host", "")
    try:
        parts = urlsplit(f"//{host}")
        return parts.netloc == host and parts.hostname in HOSTS and parts.username is None and (parts.port or 80) > 0
    except ValueError:
        return False


def from_our_page(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something was sent by one of these pages.

    Browsers say so in Sec-Fetch-Site. Origin must agree; it is "null" for a form on a page that sends no referrer, as
    ours do, so that alone is not enough.
    """
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    ours = origin == f"http://{headers.get('Host')}"
    if site is None:
        return ours
    return site == "same-origin" and (ours or origin in (None, "null"))


def guarding(visitors: Visitors) -> Middleware:
    """Return the middleware that answers only the owner's browser: 421, 401 and 403 are for all others."""
    open_paths = ("/open/", "/static/")

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if len(request.headers.getall("Host", [])) != 1 or not here(request.headers):
            raise web.HTTPMisdirectedRequest
        if request.path.startswith(open_paths) and request.method in ("GET", "HEAD"):
            return await handler(request)
        if not visitors.known(request.cookies.get(COOKIE, "")):
            raise LoggedOut(
                _("Only the owner of this computer can see this page."),
                hint=_("Open the manager from the tray, or by the command `dsage manager`."),
            )
        if request.method == "POST":
            if not from_our_page(request.headers):
                raise NotAllowed(_("This request came from another page."), hint=_("Use the manager's own buttons."))
            key = dict(await form(request)).get(FORM_KEY, "")
            if not secrets.compare_digest(key.encode(), visitors.form_key.encode()):
                raise NotAllowed(_("This form is out of date."), hint=_("Reload the page and try again."))
        elif request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD", "POST"))
        return await handler(request)

    return middleware


async def form(request: web.Request) -> Fields:
    """Return the fields of a form in their order. Raises TooLarge, UsageError."""
    if request.content_type != FORM_TYPE:
        raise UsageError(_("This is not a form of these pages."), hint=_("Use the manager's own buttons."))
    try:
        body = await request.read()
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(_("This form is too large."), hint=_("Write less into it.")) from None
    except ValueError:
        raise UsageError(_("This form cannot be read."), hint=_("Reload the page and try again.")) from None


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: put the security headers on every answer, errors and streams included."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
