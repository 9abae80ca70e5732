"""How a volunteer logs in: the browsers that are logged in now, passkeys, the recovery code."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage_server.store import passkeys, recovery, visits
from dsage_server.web.page import Document
from dsage_server.web.personal.mine import Mine, Room


class BrowserLine(msgspec.Struct, kw_only=True):
    """A browser that is logged in: `how` says by what, `here` whether it is the one that asks."""

    number: int
    how: str
    created: float
    seen: float
    expires: float
    here: bool


class PasskeyLine(msgspec.Struct, kw_only=True):
    """A passkey, as its owner called it."""

    number: int
    name: str
    created: float
    used: float | None


class MyLogins(Document, kw_only=True):
    """The ways into the account; `recovery` is when the recovery code was made, null if there is none. `fresh` is
    whether this login is new enough to change them."""

    schema: ClassVar[str] = "dsage.me.login/1"
    browsers: list[BrowserLine]
    passkeys: list[PasskeyLine]
    recovery: float | None
    fresh: bool


def my_logins(connection: Connection, mine: Mine) -> MyLogins:
    """Return the ways into a volunteer's account."""
    browsers = visits.of(connection, visits.Role.VOLUNTEER, mine.visit.subject, mine.now)
    return MyLogins(
        browsers=[
            BrowserLine(
                number=each.id, how=each.how, created=each.created, seen=each.seen, expires=each.expires,
                here=each.id == mine.visit.id,
            )
            for each in browsers
        ],
        passkeys=[
            PasskeyLine(number=each.id, name=each.name, created=each.created, used=each.used)
            for each in passkeys.of(connection, mine.number)
        ],
        recovery=recovery.made(connection, mine.number), fresh=mine.fresh,
    )  # fmt: skip


ROOM: Final = Room(template="me_login", route="/me/login", load=my_logins, document=MyLogins)
