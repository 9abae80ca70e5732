"""How a visitor wants pages to look: language and theme, kept in two cookies that the form at every page's end sets."""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import web

from dsage.errors import UsageError
from dsage_server.store.visits import Role
from dsage_server.web.forms import form_of
from dsage_server.web.speech import Speech, speech_of
from dsage_server.web.words import LANGUAGES, PSEUDO, wanted

ROUTE: Final = "/look"
THEMES: Final = ("", "light", "dark")
"""Nothing said: what the visitor's system has."""
YEAR_S: Final = 365 * 86400
LONGEST: Final = 2000
"""Characters of an address to go back to."""


class Look(NamedTuple):
    """A language's code, one of THEMES, whether the way to a researcher's own pages is shown, and the visitor's system
    on the pages that say something of it."""

    language: str = "en"
    theme: str = ""
    researcher: bool = False
    system: str = ""


PLAIN: Final = Look()


def cookie(role: Role) -> str:
    """Return the name of the cookie by which a browser is logged in in a role."""
    return f"__Host-{role}"


def look_of(request: web.Request) -> Look:
    """Return how this visitor wants pages."""
    theme = request.cookies.get("theme", "")
    language = wanted(request.cookies.get("language", ""), request.headers.get("Accept-Language", ""))
    return Look(language, theme if theme in THEMES else "", cookie(Role.RESEARCHER) in request.cookies)


def look_there(request: web.Request) -> Look:
    """The same for a page that says something of the visitor's system, which is then one more thing it varies by."""
    return look_of(request)._replace(system=system_of(request.headers.get("User-Agent", "")))


def system_of(agent: str) -> str:
    """Return the system that a browser names: linux, windows, macos, phone, or an empty text."""
    said = agent.lower()
    if "android" in said or "iphone" in said or "ipad" in said or "mobile" in said:
        return "phone"
    for word, system in (("windows", "windows"), ("mac os", "macos"), ("linux", "linux"), ("x11", "linux")):
        if word in said:
            return system
    return ""


def speech_for(request: web.Request) -> Speech:
    """Return how this visitor's language says things."""
    return speech_of(look_of(request).language)


async def choose(request: web.Request) -> web.Response:
    """Keep what the form says, and go back to the page it stood on."""
    form = await form_of(request)
    language, theme, back = (form.get(name, "") for name in ("language", "theme", "back"))
    if language not in (*LANGUAGES, *PSEUDO) or theme not in THEMES:
        raise UsageError("there is no such language or theme")
    answer = web.Response(status=303, headers={"Location": local(back)})
    for name, value in (("language", language), ("theme", theme)):
        if value:
            answer.set_cookie(name, value, max_age=YEAR_S, path="/", samesite="Lax", secure=request.secure)
        else:
            answer.del_cookie(name, path="/")
    return answer


def local(address: str) -> str:
    """Return an address of this site to go on to, and the front page for anything else."""
    safe = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if safe and address.isascii() and address.isprintable() and len(address) <= LONGEST else "/"
