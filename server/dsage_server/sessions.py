"""Challenges and bearer tokens: single-use numbers to sign, and short-lived proofs that somebody did.

Only hashes of tokens are kept, and only in memory: after a restart everybody logs in again, which costs a client
one signature. Times are of a steady clock (the hub's `ticks`), so setting the date ends no session and keeps none.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from dsage.errors import Busy, LoggedOut, NotAllowed, Replayed

CHALLENGE_S: Final = 60.0
TOKEN_S: Final = 900.0
MAX_CHALLENGES: Final = 20_000
MAX_SESSIONS: Final = 200_000


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
    """Open challenges and live tokens, both bounded."""

    def __init__(self) -> None:
        self._challenges: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def challenge(self, now: float) -> bytes:
        """Return a new single-use number. Raises Busy when too many are open."""
        self._forget(self._challenges, now)
        if len(self._challenges) >= MAX_CHALLENGES:
            raise Busy("too many logins at once")
        number = secrets.token_bytes(32)
        self._challenges[number] = now + CHALLENGE_S
        return number

    def use(self, challenge: bytes, now: float) -> None:
        """Use a challenge up. Raises Replayed if it is not open (any more)."""
        expires = self._challenges.pop(challenge, None)
        if expires is None or expires < now:
            raise Replayed("this challenge was not given out, was used before, or has run out")

    def open(self, session: Session) -> str:
        """Return a new token for a session."""
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.popitem(last=False)
        token = secrets.token_urlsafe(32)
        self._sessions[_hash(token)] = session
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
        for name, session in list(self._sessions.items()):
            if session.key in keys:
                del self._sessions[name]

    @staticmethod
    def _forget(challenges: OrderedDict[bytes, float], now: float) -> None:
        while challenges and next(iter(challenges.values())) < now:
            challenges.popitem(last=False)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
