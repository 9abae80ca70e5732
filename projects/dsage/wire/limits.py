"""What every call keeps to: the version that is spoken, the type of bodies, and how much either side reads."""

from __future__ import annotations

from typing import Final

import msgspec

PROTOCOL: Final = 1
OLDEST_PROTOCOL: Final = 1
PROTOCOL_HEADER: Final = "DSage-Protocol"
MEDIA_TYPE: Final = "application/msgpack"
MAX_BODY_BYTES: Final = 32 << 20
MAX_WAIT_S: Final = 50.0
"""The longest that a call is held open: below the 60 s after which many proxies give up."""
MANY: Final = msgspec.Meta(max_length=100_000)
"""What a server reads of any list: a longer one, whose values may be a byte each, is refused before objects are made of
it. The limits of each call are narrower."""
