"""Browsers that are logged in, and the links that log them in.

A browser is logged in as a volunteer (the `subject` is the account's number), as a researcher (the code key, in
hexadecimal), or as the operator (no subject). What it holds is a random token, and a link a random code, of 256 bits;
the tables have their SHA-256 only. Times are Unix seconds.
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from dsage_server.store.schema import web_link, web_session

LINK_S: Final = 60.0
IDLE_S: Final = 14 * 86400.0
"""A login ends when its browser has not been seen for so long."""
LONGEST_S: Final = 90 * 86400.0
"""It ends after this time in any case."""
NOTED_S: Final = 60.0
"""How exactly it is known when a browser was seen last."""
TOKEN_BYTES: Final = 32


class Role(StrEnum):
    """As whom a browser is logged in."""

    VOLUNTEER = "volunteer"
    RESEARCHER = "researcher"
    OPERATOR = "operator"


class Visit(NamedTuple):
    """A browser that is logged in; `how` says by what it was: "link", "passkey" or "recovery code"."""

    id: int
    role: Role
    subject: str
    how: str
    created: float
    seen: float
    expires: float

    @property
    def volunteer(self) -> int:
        """The number of the account; for volunteers."""
        return int(self.subject)

    @property
    def researcher(self) -> bytes:
        """The code key; for researchers."""
        return bytes.fromhex(self.subject)


def make_link(connection: Connection, role: Role, subject: str, now: float) -> str:
    """Return the code of a new link that logs one browser in, once, within LINK_S."""
    connection.execute(delete(web_link).where(web_link.c.expires < now))
    code = secrets.token_urlsafe(TOKEN_BYTES)
    connection.execute(insert(web_link).values(code_hash=_hash(code), role=role, subject=subject, expires=now + LINK_S))
    return code


def look_at_link(connection: Connection, code: str, now: float) -> tuple[Role, str] | None:
    """Return as whom a link would log in, and leave it as it is; None if there is none that is still good."""
    row = connection.execute(
        select(web_link.c.role, web_link.c.subject).where(
            web_link.c.code_hash == _hash(code), web_link.c.expires >= now
        )
    ).first()
    return None if row is None else (Role(row.role), row.subject)


def use_link(connection: Connection, code: str, now: float) -> tuple[Role, str] | None:
    """Use a link up, and return as whom it logs in; None if somebody has, or it has run out."""
    found = look_at_link(connection, code, now)
    gone = connection.execute(delete(web_link).where(web_link.c.code_hash == _hash(code))).rowcount
    return found if gone else None


def begin(connection: Connection, role: Role, subject: str, how: str, now: float) -> str:
    """Log a browser in; return the token that it is to keep. What has run out is forgotten."""
    connection.execute(delete(web_session).where(web_session.c.expires < now))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    connection.execute(
        insert(web_session).values(
            token_hash=_hash(token), role=role, subject=subject, how=how, created=now, seen=now, expires=now + IDLE_S
        )
    )
    return token


def find(connection: Connection, token: str, now: float) -> Visit | None:
    """Return who a token stands for, if it still does."""
    row = connection.execute(
        select(web_session).where(web_session.c.token_hash == _hash(token), web_session.c.expires >= now)
    ).first()
    return None if row is None else _visit(row)


def is_stale(visit: Visit, now: float) -> bool:
    """Whether it is worth to note that a browser was seen again."""
    return now - visit.seen >= NOTED_S


def note_seen(connection: Connection, visit: Visit, now: float) -> None:
    """Note that a browser was seen: its login lasts longer."""
    expires = min(now + IDLE_S, visit.created + LONGEST_S)
    connection.execute(update(web_session).where(web_session.c.id == visit.id).values(seen=now, expires=expires))


def of(connection: Connection, role: Role, subject: str, now: float) -> list[Visit]:
    """Return all browsers that are logged in as somebody, the newest first."""
    rows = connection.execute(
        select(web_session)
        .where(web_session.c.role == role, web_session.c.subject == subject, web_session.c.expires >= now)
        .order_by(web_session.c.id.desc())
    )
    return [_visit(row) for row in rows]


def end(connection: Connection, role: Role, subject: str, number: int | None = None) -> int:
    """Log one browser of somebody out, or all of them and every link that is open; return how many there were."""
    gone = delete(web_session).where(web_session.c.role == role, web_session.c.subject == subject)
    if number is not None:
        return connection.execute(gone.where(web_session.c.id == number)).rowcount
    withdraw_links(connection, role, subject)
    return connection.execute(gone).rowcount


def withdraw_links(connection: Connection, role: Role, subject: str) -> None:
    """Nobody is logged in as somebody by a link that is open now."""
    connection.execute(delete(web_link).where(web_link.c.role == role, web_link.c.subject == subject))


def _visit(row: Row[tuple[object, ...]]) -> Visit:
    return Visit(row.id, Role(row.role), row.subject, row.how, row.created, row.seen, row.expires)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
