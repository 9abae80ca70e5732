"""Somebody who asks the manager by HTTP, and what such a visitor reads out of its pages. No browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import cycle
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yarl
from owner_stand import OwnerStand

from dsage.trust.invite import Link
from dsage.wire import About, ProjectOffer
from dsage_client.asking import Offer
from dsage_client.manager.app import Site
from dsage_client.manager.live import Live


@dataclass
class Answer:
    """What came back."""

    status: int
    text: str
    headers: dict[str, str]


@dataclass
class Visit:
    """Somebody who asks the manager: with which cookie, and which headers beside a browser's usual ones."""

    site: Site
    session: aiohttp.ClientSession
    owner: OwnerStand
    clock: list[float]
    live: Live
    asked: list[Link] = field(default_factory=list)
    cookie: str = ""
    room: str = "/"

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.site.port}"

    async def ask(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | str | None = None
    ) -> Answer:
        """Ask for a path exactly as it is written, without following anything."""
        sent = {"Cookie": self.cookie} if self.cookie else {}
        url = yarl.URL(self.origin + path, encoded=True)
        async with self.session.request(
            method, url, headers=sent | (headers or {}), data=body, allow_redirects=False
        ) as reply:
            found = {name.lower(): value for name, value in reply.headers.items()}
            return Answer(reply.status, await reply.text(), found)

    async def enter(self) -> None:
        """Come in by a one-time address."""
        answer = await self.ask(self.link())
        assert answer.status == 303, answer.text
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        self.room = answer.headers["location"]

    def link(self) -> str:
        """Return the path of a new one-time address."""
        return self.site.link().removeprefix(self.origin)

    async def page(self, name: str) -> Answer:
        """Read a page."""
        return await self.ask(self.room + name)

    async def key(self) -> str:
        """Return the key that stands in every form."""
        found = re.search(r'name="form_key" value="([^"]+)"', (await self.page("join")).text)
        assert found
        return found[1]

    async def post(
        self, name: str, fields: list[tuple[str, str]] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a form as a browser does from a page of the manager."""
        usual = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Origin": "null"}
        body = urlencode([("form_key", await self.key()), *(fields or [])])
        return await self.ask(self.room + name, method="POST", headers=usual | (headers or {}), body=body)


NAMES = ("misty-lark-204", "kind-comet-731", "sunny-fern-118")


def offers() -> Callable[[Link], Offer]:
    """Return who says what the server of the tests says of itself; each time it is asked it offers another name."""
    names = cycle(NAMES)

    def offer(link: Link) -> Offer:
        project = ProjectOffer(name="factor", title="Factors", purpose="Which numbers fall apart.", by="Dr. Sieve")
        about = About(server_id=link.server_id, name="Number Lab", operator="the Institute", projects=[project])
        linked = "linked" in link.url
        return Offer(about=about, name="" if "older" in link.url else next(names), linked=linked)

    return offer


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._area = self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        given = dict(attrs)
        name = given.get("name", "")
        if tag == "input" and name not in ("", "form_key"):
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self.found.append((name, given.get("value", "on")))
        elif tag == "textarea":
            self._area = name
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self.found.append((self._select, given["value"]))

    def handle_data(self, data: str) -> None:
        if self._area:
            self.found.append((self._area, data))

    def handle_endtag(self, tag: str) -> None:
        self._area = "" if tag == "textarea" else self._area


def fields_of(page: str) -> list[tuple[str, str]]:
    """Return what a browser would send of the forms of a page, without the buttons."""
    reader = _Reader()
    reader.feed(page)
    return reader.found
