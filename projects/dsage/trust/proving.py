"""Proof that somebody has a key, as one line of text: made by the command line, pasted into a page.

Its challenge is the maker's own, so nobody needs to be asked for one first. It is good for the server that it names,
for an hour, and once: the server remembers each until it has run out.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Final, NamedTuple

import msgspec

from dsage.errors import Replayed, UsageError, WrongRole
from dsage.trust.documents import Possession
from dsage.trust.envelope import Envelope, open_as, seal, signers
from dsage.trust.keys import PrivateKey

PREFIX: Final = "dsage-proof:"
GOOD_S: Final = 3600.0
"""How long a proof is good: time enough to fill in a form."""
AHEAD_S: Final = 300.0
"""How far the clock of whoever made it may be ahead."""
CHALLENGE_BYTES: Final = 16
LONGEST: Final = 1000
"""Characters of a proof, at most."""
HINT: Final = "Make a new line with `dsage keys prove`, as the page says it."


class Proven(NamedTuple):
    """Who has proven to have a key; `mark` is for the server to remember until `until` (Unix seconds)."""

    key: bytes
    mark: bytes
    until: float


def prove(key: PrivateKey, server_id: str, now: float) -> str:
    """Return the proof, for one server, that its maker has a key (Unix seconds)."""
    said = Possession(server_id=server_id, key=key.public, challenge=secrets.token_bytes(CHALLENGE_BYTES), made=now)
    return PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(seal(said, key))).decode().rstrip("=")


def proven(text: str, server_id: str, now: float) -> Proven:
    """Return what a proof says. Raises UsageError if it is none, WrongRole if it is for another server, TrustError if
    nobody signed it so, Replayed if it has run out; whether it was used before is for the caller to know."""
    envelope = _envelope(text.strip())
    claimed = signers(envelope)
    said = open_as(envelope, Possession, claimed)
    if claimed != [said.key]:
        raise WrongRole("this proof is of another key than the one that signed it", hint=HINT)
    if said.server_id != server_id:
        raise WrongRole("this proof was made for another server", hint=HINT)
    if not now - GOOD_S <= said.made <= now + AHEAD_S:
        raise Replayed("this proof has run out, or a clock is wrong", hint=HINT)
    return Proven(said.key, hashlib.sha256(envelope.payload).digest(), said.made + GOOD_S)


def _envelope(text: str) -> Envelope:
    data = text.removeprefix(PREFIX)
    if data == text or len(text) > LONGEST:
        raise UsageError("this is no proof of a key", hint=HINT)
    try:
        packed = base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(packed, type=Envelope)
    except (ValueError, msgspec.MsgspecError):
        raise UsageError("this is no proof of a key", hint=HINT) from None
