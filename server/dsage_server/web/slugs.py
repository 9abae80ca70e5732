"""Names in addresses: a number, which is what counts, and then what can be read of the name by anybody's keyboard."""

from __future__ import annotations

import re
import unicodedata

from dsage_server.web.page import whole


def slug_of(number: int, name: str) -> str:
    """Return what stands in the address of something with a number and a name: "8-hokkaido-idle-club"."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "-".join([str(number), *re.findall("[a-z0-9]+", plain)])


def number_in(slug: str) -> int:
    """Return the number in an address, whatever name follows: people rename things. Raises NotFound."""
    return int(whole(slug.partition("-")[0]))
