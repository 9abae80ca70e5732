"""Challenges and bearer tokens: single-use numbers to sign, and short-lived proofs that somebody did.

Both carry their own expiry under a keyed hash, so neither costs memory while it is out, nobody can use them all up, and
every process that has the secret (it lies in the database) honours what another gave out, before a restart too: a fleet
that comes back need not log in again. What is remembered is bounded: challenges that were used, by somebody who could
sign, until they run out, and tokens that were seen lately, so that each is verified once.

Times are dates, which people may set. When the date jumps ahead, what is out has run out and everybody logs in again;
when it is set back, what is out lasts longer by the jump; what reaches further into the future than SLACK_S is refused.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from dsage.errors import LoggedOut, NotAllowed, Replayed

CHALLENGE_S: Final = 60.0
TOKEN_S: Final = 900.0
SLACK_S: Final = 3600.0
"""How far the date may be set back before what was given out until then is refused."""
SECRET_BYTES: Final = 32
MAX_USED: Final = 200_000
"""Used challenges remembered; when there are more, the oldest of them could serve its own signer once more."""
MAX_SEEN: Final = 50_000
"""Tokens remembered as verified, some 500 bytes each; a further one puts out the oldest, to be verified again."""

DISGUISE_DIGITS: Final = 6
"""A thousand things seldom have two of one number."""

_CHALLENGE: Final = struct.Struct("!16sd")
_MARK_BYTES: Final = 32


DRIVER: Final = "driver"
"""The role of a token that the hosting process gets: it may drive one run, and nothing else."""


class Session(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Who a token stands for, until when. `host` and `volunteer` are 0 for a researcher.

    That of a hosted driver has its researcher's key and the number of the one `run` that it is good for.
    """

    role: str
    key: bytes
    expires: float
    host: int = 0
    volunteer: int = 0
    run: int = 0


class Sessions:
    """Challenges given out, and tokens. `remember_used` is asked, once a challenge has passed every other check,
    to note it until a date; it returns False if some other process has noted it before."""

    def __init__(
        self, secret: bytes | None = None, remember_used: Callable[[bytes, float], Awaitable[bool]] | None = None
    ) -> None:
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)
        self._remember_used = remember_used
        self._used: OrderedDict[bytes, float] = OrderedDict()
        self._seen: OrderedDict[str, Session] = OrderedDict()
        self._dropped: set[bytes] = set()

    def challenge(self, now: float) -> bytes:
        """Return a new single-use number."""
        number = _CHALLENGE.pack(secrets.token_bytes(16), now + CHALLENGE_S)
        return number + self._mark(b"challenge", number)

    async def use(self, challenge: bytes, now: float) -> None:
        """Use a challenge up. Raises Replayed if it is not open (any more)."""
        number, mark = challenge[: _CHALLENGE.size], challenge[_CHALLENGE.size :]
        given_out = len(number) == _CHALLENGE.size and hmac.compare_digest(mark, self._mark(b"challenge", number))
        expires = _CHALLENGE.unpack(number)[1] if given_out else now
        if not given_out or challenge in self._used or not _in_time(expires, CHALLENGE_S, now):
            raise Replayed("this challenge was not given out, was used before, or has run out")
        while self._used and (len(self._used) >= MAX_USED or next(iter(self._used.values())) < now):
            self._used.popitem(last=False)
        self._used[challenge] = expires
        if self._remember_used is not None and not await self._remember_used(challenge, expires):
            raise Replayed("this challenge was used before")

    def open(self, session: Session) -> str:
        """Return a token for a session."""
        claims = msgspec.msgpack.encode(session)
        return base64.urlsafe_b64encode(self._mark(b"token", claims) + claims).decode()

    def known(self, header: str | None, now: float) -> Session | None:
        """Return the session of an Authorization header, None if it opens nothing."""
        session = self._seen.get(header or "") or self._verified(header or "", now)
        return session if session is not None and _in_time(session.expires, TOKEN_S, now) else None

    def present(self, header: str | None, now: float) -> Session:
        """Return the session of an Authorization header, in whatever role. Raises LoggedOut."""
        session = self.known(header, now)
        if session is None:
            raise LoggedOut("log in first: this token is unknown or has run out")
        return session

    def find(self, header: str | None, role: str, now: float) -> Session:
        """Return the session of an Authorization header. Raises LoggedOut or NotAllowed."""
        session = self.present(header, now)
        if session.role != role:
            raise NotAllowed(f"this needs a {role}'s token, not a {session.role}'s")
        return session

    def find_driver(self, header: str | None, run: int, now: float) -> Session:
        """Return the session of whoever may drive a run: a researcher, or the hosted driver of this very run.

        Whether the run is that researcher's is asked later. Raises LoggedOut or NotAllowed.
        """
        session = self.present(header, now)
        if session.role == DRIVER and session.run != run:
            raise NotAllowed(f"this token is good for run {session.run} alone")
        return session if session.role == DRIVER else self.find(header, "researcher", now)

    def drop_keys(self, keys: set[bytes]) -> None:
        """Honour no token of these keys any more."""
        self._dropped |= keys
        for header in [header for header, session in self._seen.items() if session.key in keys]:
            del self._seen[header]

    def readmit(self, key: bytes) -> None:
        """Honour the tokens of a key again: who had left has joined anew."""
        self._dropped.discard(key)

    def _verified(self, header: str, now: float) -> Session | None:
        scheme, _, token = header.partition(" ")
        try:
            data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        mark, claims = data[:_MARK_BYTES], data[_MARK_BYTES:]
        if scheme != "Bearer" or not hmac.compare_digest(mark, self._mark(b"token", claims)):
            return None
        session = msgspec.msgpack.decode(claims, type=Session)
        if session.key in self._dropped or session.expires < now:
            return None
        while len(self._seen) >= MAX_SEEN:
            self._seen.popitem(last=False)
        self._seen[header] = session
        return session

    def disguise(self, words: str) -> str:
        """Return a short number that stands for something, always the same one; nobody else can tell for what."""
        return self._mark(b"disguise", words.encode()).hex()[:DISGUISE_DIGITS]

    def _mark(self, purpose: bytes, data: bytes) -> bytes:
        """Return the keyed hash of what this server says; the purpose keeps a challenge from passing for a token."""
        return hmac.digest(self._secret, b"dsage " + purpose + b" 1\0" + data, "sha256")


def _in_time(expires: float, lasts_s: float, now: float) -> bool:
    return now <= expires <= now + lasts_s + SLACK_S
