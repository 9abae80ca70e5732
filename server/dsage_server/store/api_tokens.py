"""Tokens that researchers make for programs of theirs: what each may do, and until when.

A token is 256 random bits behind a word by which it is recognised; the table has its SHA-256 only, so it is shown once.
Each request looks it up, so that one that was revoked opens nothing any more, at any process. Times are Unix seconds.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, update

from dsage.errors import Conflict, NotFound, UsageError
from dsage_server.store.schema import api_token

Scope = Literal["read", "write"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "write")
PREFIX: Final = "dsage_"
"""How each begins: what finds lost secrets in published files can know them by it."""
TOKEN_BYTES: Final = 32
MOST: Final = 50
"""Tokens of one researcher that work at a time."""
MOST_NAME: Final = 60
LONGEST_S: Final = 366 * 86400.0
NOTED_S: Final = 60.0
"""How exactly it is known when a token was used last."""
SHOWN: Final = 100
"""Tokens listed: those that work, and some that do not any more."""


class ApiToken(NamedTuple):
    """A token without its secret. `scope` is "read" or "write", which may read too."""

    id: int
    researcher: bytes
    name: str
    scope: str
    created: float
    expires: float
    used: float | None
    revoked: float | None

    def works(self, now: float) -> bool:
        """Whether it opens anything."""
        return self.revoked is None and now < self.expires

    def may(self, scope: str) -> bool:
        """Whether it may do what needs this scope; nothing if that is empty."""
        return scope == "read" or (scope == "write" and self.scope == "write")


def make(
    connection: Connection, researcher: bytes, name: str, scope: str, lasts_s: float, now: float
) -> tuple[ApiToken, str]:
    """Return a new token, and its secret, which is kept nowhere.

    Raises UsageError for what cannot be one, Conflict if there are MOST.
    """
    name = " ".join(name.split())
    if not name or len(name) > MOST_NAME or not name.isprintable():
        raise UsageError(
            f"a token needs a name of at most {MOST_NAME} letters", hint="Say what for: nightly plots, for instance."
        )
    if scope not in SCOPES:
        raise UsageError(f"tokens are for {' or '.join(SCOPES)}, not for {scope[:40]!r}")
    if not 0 < lasts_s <= LONGEST_S:
        raise UsageError(f"a token lasts at most {LONGEST_S / 86400:.0f} days", hint="Make a new one then.")
    working = (api_token.c.researcher == researcher) & api_token.c.revoked.is_(None) & (api_token.c.expires > now)
    has = connection.execute(select(func.count()).select_from(api_token).where(working)).scalar_one()
    if has >= MOST:
        raise Conflict(f"you have {MOST} tokens", hint="Revoke those that nothing uses: `dsage token revoke ID`.")
    secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    values = {"researcher": researcher, "name": name, "scope": scope, "created": now, "expires": now + lasts_s}
    made = connection.execute(insert(api_token).values(token_hash=_hash(secret), **values))
    (number,) = made.inserted_primary_key or (0,)
    return ApiToken(id=int(number), used=None, revoked=None, **values), secret  # type: ignore[arg-type]


def find(connection: Connection, secret: str, now: float) -> ApiToken | None:
    """Return the token of a secret, if it works."""
    row = connection.execute(select(api_token).where(api_token.c.token_hash == _hash(secret))).first()
    token = None if row is None else _token(row)
    return token if token is not None and token.works(now) else None


def is_stale(token: ApiToken, now: float) -> bool:
    """Whether it is worth to note that a token was used again."""
    return token.used is None or now - token.used >= NOTED_S


def note_used(connection: Connection, token: ApiToken, now: float) -> None:
    """Note that a token was used."""
    connection.execute(update(api_token).where(api_token.c.id == token.id).values(used=now))


def of(connection: Connection, researcher: bytes) -> list[ApiToken]:
    """Return a researcher's tokens, newest first, those that were revoked or have run out after the others."""
    query = select(api_token).where(api_token.c.researcher == researcher)
    rows = connection.execute(query.order_by(api_token.c.revoked.is_not(None), api_token.c.id.desc()).limit(SHOWN))
    return [_token(row) for row in rows]


def revoke(connection: Connection, researcher: bytes, number: int, now: float) -> ApiToken:
    """Let a token of somebody open nothing any more; asking again changes nothing. Raises NotFound if there is none."""
    mine = (api_token.c.id == number) & (api_token.c.researcher == researcher)
    connection.execute(update(api_token).where(mine, api_token.c.revoked.is_(None)).values(revoked=now))
    row = connection.execute(select(api_token).where(mine)).first()
    if row is None:
        raise NotFound(f"you have no token {number}", hint="`dsage token ls` lists yours.")
    return _token(row)


def _token(row: Row[tuple[object, ...]]) -> ApiToken:
    return ApiToken(row.id, row.researcher, row.name, row.scope, row.created, row.expires, row.used, row.revoked)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
