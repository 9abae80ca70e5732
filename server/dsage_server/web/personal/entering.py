"""Logging in without a link: by a passkey, or by a recovery code. Whoever guesses codes is slowed down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web
from sqlalchemy import Connection, select

from dsage.errors import TooMany, UsageError
from dsage_server.api.buckets import Buckets, Policy
from dsage_server.api.callers import visitor
from dsage_server.store import passkeys, recovery
from dsage_server.store.open_links import network
from dsage_server.store.schema import volunteer
from dsage_server.store.visits import Role
from dsage_server.web.forms import form_of
from dsage_server.web.personal import ceremonies
from dsage_server.web.personal.acts import need_fresh
from dsage_server.web.personal.serving import HOME, Serving
from dsage_server.web.visitors import PRIVATE

GUESSES: Final = Policy(name="recovery", rate_per_s=1 / 300, burst=5)
"""Recovery codes from one network. Nobody types more wrong ones; of 2 ** 100 these find none."""
ALL_GUESSES: Final = Policy(name="recovery", rate_per_s=1.0, burst=100)
"""From everywhere together."""
PROOFS: Final = Policy(name="passkey", rate_per_s=0.5, burst=60)
"""Challenges for passkeys, and answers to them, from one network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entering:
    """The handlers."""

    serving: Serving
    guesses: Buckets = field(default_factory=lambda: Buckets(GUESSES))
    all_guesses: Buckets = field(default_factory=lambda: Buckets(ALL_GUESSES))
    proofs: Buckets = field(default_factory=lambda: Buckets(PROOFS))
    ticks: Callable[[], float] = time.monotonic

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/me/recover", self.recover)
        app.router.add_post("/me/passkey/ask", self.ask)
        app.router.add_post("/me/passkey", self.enter)
        app.router.add_post("/me/passkeys/ask", self.ask_new)
        app.router.add_post("/me/passkeys", self.add)

    async def recover(self, request: web.Request) -> web.Response:
        """Log in by a recovery code, which is used up by that."""
        self._take(self.guesses, network(visitor(request)))
        self._take(self.all_guesses, "")
        code = str((await form_of(request)).get("code", ""))
        number = await self.serving.store.write(lambda connection: recovery.use(connection, code))
        if number is None:
            return await self.serving.out(request, wrong="code", status=403)
        answer = web.Response(status=303, headers={"Location": "/me/login?did=recovered", **PRIVATE})
        await self.serving.visitors.begin(request, answer, Role.VOLUNTEER, str(number), "recovery code")
        return answer

    async def ask(self, request: web.Request) -> web.Response:
        """What a browser needs to prove that it has a passkey."""
        self._take(self.proofs, network(visitor(request)))
        place, now = self._place(request), self.serving.clock()
        return _said(await self.serving.store.write(lambda c: ceremonies.ask_for_proof(c, place, now)))

    async def enter(self, request: web.Request) -> web.Response:
        """Log in by a passkey."""
        self._take(self.proofs, network(visitor(request)))
        place, now, answer = self._place(request), self.serving.clock(), await _body(request)
        number = await self.serving.store.write(lambda c: ceremonies.take_proof(c, place, answer, now))
        entered = _said(msgspec.json.encode({"next": HOME}).decode())
        await self.serving.visitors.begin(request, entered, Role.VOLUNTEER, str(number), "passkey")
        return entered

    async def ask_new(self, request: web.Request) -> web.Response:
        """What a browser needs to make a passkey."""
        mine, place = await self.serving.mine(request), self._place(request)
        need_fresh(mine)

        def options(connection: Connection) -> str:
            called = select(volunteer.c.pseudonym).where(volunteer.c.id == mine.number)
            name = connection.execute(called).scalar_one()
            return ceremonies.ask_for_new(
                connection, place, self.serving.name, mine.number, name, mine.visit.id, mine.now
            )

        return _said(await self.serving.store.write(options))

    async def add(self, request: web.Request) -> web.Response:
        """Keep the passkey that a browser made."""
        mine, place, said = await self.serving.mine(request), self._place(request), await _body(request)
        need_fresh(mine)
        called = " ".join(str(said.get("name", "")).split())[: passkeys.LONGEST]
        made = said.get("credential")
        if not isinstance(made, dict):
            raise UsageError("this is no passkey", hint="Use the button of the page.")
        await self.serving.store.write(
            lambda c: ceremonies.take_new(c, place, mine.number, made, called, mine.visit.id, mine.now)
        )
        return _said(msgspec.json.encode({"next": "/me/login?did=added"}).decode())

    def _place(self, request: web.Request) -> ceremonies.Place:
        place = self.serving.place(request)
        if not place.fits:
            raise UsageError(
                "there are no passkeys for these pages",
                hint="Browsers make them for https addresses with a name, and for localhost.",
            )
        return place

    def _take(self, buckets: Buckets, who: str) -> None:
        verdict = buckets.take(who, self.ticks())
        if not verdict.allowed:
            raise TooMany("that was tried too often from here", retry_s=verdict.retry_s)


async def _body(request: web.Request) -> dict[str, Any]:
    """Return a JSON object. Raises UsageError."""
    try:
        return msgspec.json.decode(await request.read(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UsageError("this is not JSON", hint="Use the button of the page.") from None


def _said(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json", headers=PRIVATE)
