"""Challenges and bearer tokens: single-use numbers to sign, and short-lived proofs that somebody did.

A challenge is made of its own expiry and a keyed hash, so giving one out costs no memory and nobody can use them all
up; only those that were used, by somebody who could sign, are remembered until they run out. Of tokens only hashes are
kept, and only in memory: after a restart everybody logs in again, which costs a client one signature. Times are of a
steady clock (the hub's `ticks`), so setting the date ends no session and keeps none.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from dsage.errors import LoggedOut, NotAllowed, Replayed

CHALLENGE_S: Final = 60.0
TOKEN_S: Final = 900.0
MAX_USED: Final = 200_000
"""Used challenges remembered; when there are more, the oldest of them could serve its own signer once more."""
MAX_SESSIONS: Final = 200_000
SESSIONS_PER_KEY: Final = 4
"""A key that logs in again and again puts out its own sessions, never those of others."""

_CHALLENGE: Final = struct.Struct("!16sd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who a token stands for. `host` and `volunteer` are 0 for a researcher."""

    role: str
    key: bytes
    expires: float
    name: str
    host: int = 0
    volunteer: int = 0


class Sessions:
    """Challenges given out and live tokens; what is remembered of both is bounded."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._used: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._tokens: dict[bytes, list[bytes]] = {}

    def challenge(self, now: float) -> bytes:
        """Return a new single-use number."""
        number = _CHALLENGE.pack(secrets.token_bytes(16), now + CHALLENGE_S)
        return number + self._mark(number)

    def use(self, challenge: bytes, now: float) -> None:
        """Use a challenge up. Raises Replayed if it is not open (any more)."""
        number, mark = challenge[: _CHALLENGE.size], challenge[_CHALLENGE.size :]
        given_out = len(number) == _CHALLENGE.size and hmac.compare_digest(mark, self._mark(number))
        if not given_out or challenge in self._used or _CHALLENGE.unpack(number)[1] < now:
            raise Replayed("this challenge was not given out, was used before, or has run out")
        while self._used and (len(self._used) >= MAX_USED or next(iter(self._used.values())) < now):
            self._used.popitem(last=False)
        self._used[challenge] = now + CHALLENGE_S

    def open(self, session: Session) -> str:
        """Return a new token for a session; the oldest of the same key ends when there are many."""
        mine = self._tokens.setdefault(session.key, [])
        if len(mine) >= SESSIONS_PER_KEY:
            self._end(mine[0])
        while len(self._sessions) >= MAX_SESSIONS:
            self._end(next(iter(self._sessions)))
        token = secrets.token_urlsafe(32)
        self._sessions[_hash(token)] = session
        self._tokens.setdefault(session.key, []).append(_hash(token))
        return token

    def find(self, header: str | None, role: str, now: float) -> Session:
        """Return the session of an Authorization header. Raises LoggedOut or NotAllowed."""
        scheme, _, token = (header or "").partition(" ")
        session = self._sessions.get(_hash(token)) if scheme == "Bearer" else None
        if session is None or session.expires < now:
            raise LoggedOut("log in first: this token is unknown or has run out")
        if session.role != role:
            raise NotAllowed(f"this needs a {role}'s token, not a {session.role}'s")
        return session

    def drop_keys(self, keys: set[bytes]) -> None:
        """End every session of these keys."""
        for key in keys:
            for name in list(self._tokens.get(key, ())):
                self._end(name)

    def _end(self, name: bytes) -> None:
        key = self._sessions.pop(name).key
        self._tokens[key].remove(name)
        if not self._tokens[key]:
            del self._tokens[key]

    def _mark(self, number: bytes) -> bytes:
        return hmac.digest(self._secret, number, "sha256")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
