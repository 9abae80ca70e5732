"""What a volunteer lets others see, since when, and the ways to take everything along or to be forgotten."""

from __future__ import annotations

import re
from typing import ClassVar, Final

import msgspec
from babel import Locale
from sqlalchemy import Connection

from dsage_server.store import consents
from dsage_server.web.page import Document
from dsage_server.web.personal.mine import Mine, Room

_NONE: Final = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})
"""Codes of the CLDR that name no country."""
COUNTRIES: Final = tuple(
    sorted({str(code) for code in Locale.parse("en").territories if re.fullmatch("[A-Z]{2}", str(code))} - _NONE)
)
"""ISO 3166 codes that may be told."""


class Consent(msgspec.Struct, kw_only=True):
    """One thing that others may see or not; `since` is when that was chosen last. `outdated`: its text has changed."""

    what: str
    given: bool
    since: float | None
    outdated: bool
    version: int


class Chosen(msgspec.Struct, kw_only=True):
    """A change of one consent: `version` is of the text that was agreed to, `country` what was told."""

    what: str
    given: bool
    version: int
    at: float
    country: str


class MyPrivacy(Document, kw_only=True):
    """What others may see: `consents` as they stand, `history` how they came to, newest first."""

    schema: ClassVar[str] = "dsage.me.privacy/1"
    consents: list[Consent]
    country: str
    history: list[Chosen]


def my_privacy(connection: Connection, mine: Mine) -> MyPrivacy:
    """Return what a volunteer chose."""
    held, history = consents.held(connection, mine.number), consents.history(connection, mine.number)
    outdated = consents.outdated(history)
    since: dict[str, float] = {}
    for change in history:
        since.setdefault(change.what, change.at)
    return MyPrivacy(
        consents=[
            Consent(
                what=name, given=bool(getattr(held, name)), since=since.get(name), outdated=name in outdated,
                version=version,
            )
            for name, version in consents.CONSENTS.items()
        ],
        country=held.country,
        history=[
            Chosen(what=each.what, given=each.given, version=each.version, at=each.at, country=each.said)
            for each in history
        ],
    )  # fmt: skip


ROOM: Final = Room(template="me_privacy", route="/me/privacy", load=my_privacy, document=MyPrivacy)
