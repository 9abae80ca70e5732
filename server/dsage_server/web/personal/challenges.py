"""What a passkey signs: a number that this server made for one purpose, that is good for minutes, and once.

No table has the open ones: a challenge carries its end and a keyed mark over both and its purpose; used ones are noted
until they have run out.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from typing import Final

from sqlalchemy import Connection

from dsage.errors import Replayed
from dsage_server.store.meta import secret
from dsage_server.store.tokens import use_challenge

GOOD_S: Final = 300.0
"""Long enough to look for a security key."""
KEY: Final = "passkey_key"
"""Under which name the key is remembered that marks challenges."""
_NUMBER: Final = struct.Struct(">16sd")


def make(connection: Connection, purpose: str, now: float) -> bytes:
    """Return a new challenge."""
    number = _NUMBER.pack(secrets.token_bytes(16), now + GOOD_S)
    return number + _mark(connection, purpose, number)


def use(connection: Connection, challenge: bytes, purpose: str, now: float) -> None:
    """Use a challenge up. Raises Replayed if it was made for something else, has run out, or was used before."""
    number, mark = challenge[: _NUMBER.size], challenge[_NUMBER.size :]
    ours = len(number) == _NUMBER.size and hmac.compare_digest(mark, _mark(connection, purpose, number))
    expires = _NUMBER.unpack(number)[1] if ours else 0.0
    if not ours or expires < now or not use_challenge(connection, challenge, expires, now):
        raise Replayed("this was asked too long ago, or answered before", hint="Try once more.")


def handle_of(connection: Connection, number: int) -> bytes:
    """Return by what authenticators know a volunteer here: the same for each passkey, and nothing to others."""
    return _mark(connection, "handle", str(number).encode())


def _mark(connection: Connection, purpose: str, data: bytes) -> bytes:
    return hmac.digest(secret(connection, KEY), purpose.encode() + b"\0" + data, "sha256")
