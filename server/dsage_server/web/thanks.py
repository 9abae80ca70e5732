"""Thanks to print: the pictures of badges, and a certificate of what a volunteer who wants to be seen has given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from sqlalchemy import Connection

from dsage.errors import NotFound
from dsage_server import badges
from dsage_server.store import earned, profiles
from dsage_server.store.engine import Store
from dsage_server.web.answering import Body, send
from dsage_server.web.certificate import Line, date, sheet, wrapped
from dsage_server.web.looks import speech_for
from dsage_server.web.speech import Speech

MOST_APPS: Final = 6
MOST_FINDS: Final = 4
"""Lines of each that find room on a certificate."""
SVG: Final = "image/svg+xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thanks:
    """The handlers. `origin` is where visitors reach the pages; empty: where they found them."""

    store: Store
    name: str
    clock: Callable[[], float]
    origin: str = ""

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(r"/badge/{project}/{level:\d{1,2}}.svg", self.of_app)
        app.router.add_get(r"/badge/{event:[\w-]+}.svg", self.of_event)
        app.router.add_get(r"/u/{name:[\w-]+}.svg", self.certificate)

    async def of_app(self, request: web.Request) -> web.StreamResponse:
        """The badge of a level of an app, by its project and, if that has several, the entry in `app`."""
        project, entry = request.match_info["project"], request.query.get("app", "")
        level = int(request.match_info["level"])
        title = await self.store.read(lambda connection: _title(connection, project, entry))
        if title is None or not 1 <= level <= len(badges.LEVELS):
            raise NotFound("there is no such badge")
        speech, credits_ = speech_for(request), badges.LEVELS[level - 1]
        n_ = speech.words.ngettext
        earned_by = n_("%(n)s credit of this app", "%(n)s credits of this app", credits_)
        drawn = badges.picture(title, earned_by % {"n": speech.count(credits_)}, level, self.name)
        return send(request, Body(drawn.encode()), SVG)

    async def of_event(self, request: web.Request) -> web.StreamResponse:
        """The badge of an event."""
        known = badges.EVENTS.get(request.match_info["event"])
        if known is None:
            raise NotFound("there is no such badge")
        title, criterion = (speech_for(request).words.gettext(each) for each in known)
        return send(request, Body(badges.picture(title, criterion, 0, self.name).encode()), SVG)

    async def certificate(self, request: web.Request) -> web.StreamResponse:
        """The certificate of a volunteer; for who is not listed, the same as for nobody."""
        called = request.match_info["name"]
        address = f"{self.origin.rstrip('/') or f'{request.scheme}://{request.host}'}/u/{called}"
        now, speech = self.clock(), speech_for(request)
        lines = await self.store.read(
            lambda connection: list(_lines(connection, called, self.name, address, now, speech))
        )
        return send(request, Body(sheet(called, lines, speech).encode()), SVG)


def _title(connection: Connection, project: str, entry: str) -> str | None:
    known = sorted(earned.apps_known(connection))
    return next((title for of, called, title in known if of == project and entry in ("", called)), None)


def _lines(
    connection: Connection, called: str, server: str, address: str, now: float, speech: Speech
) -> Iterator[Line]:
    """Raises NotFound."""
    _ = speech.words.gettext
    row = profiles.find(connection, called)
    if row is None:
        raise NotFound("nobody of that name is listed here", hint="The leaderboard has those who want to be seen.")
    yield "small", _("%(server)s thanks") % {"server": server}, 48
    yield "title", row.pseudonym, 44
    given = _("whose computers have given %(n)s credits to research here:")
    yield "text", given % {"n": speech.digits(f"{row.amount_milli / 1000:,.1f}")}, 26
    right = speech.words.ngettext(
        "%(n)s answer that was checked and found right, since %(day)s.",
        "%(n)s answers that were checked and found right, since %(day)s.", row.valid,
    )  # fmt: skip
    yield "text", right % {"n": speech.count(row.valid), "day": date(row.created)}, 40
    apps = sorted(earned.by_app(connection, row.id).items(), key=lambda each: -each[1])
    for app, amount in apps[:MOST_APPS]:
        level = badges.level(amount)
        credits_ = {"title": app[2], "n": speech.digits(f"{amount / 1000:,.1f}")}
        badge = {"level": level, "all": len(badges.LEVELS)}
        form = _("%(title)s: %(n)s credits, badge %(level)d of %(all)d") if level else _("%(title)s: %(n)s credits")
        yield from wrapped("text", form % (credits_ | badge), 84, 26)
    for each in profiles.finds(connection, row.id, MOST_FINDS) if row.public else ():
        yield from wrapped(
            "text", _("Discovery %(number)d: %(title)s") % {"number": each.id, "title": each.title}, 84, 26
        )
    yield "text", "", 18
    yield "small", _("One credit is one minute of work on one core of the reference machine."), 22
    yield "small", _("As of %(day)s (UTC)") % {"day": date(now)}, 22
    yield from wrapped("small", address, 100, 20)
