"""The part of a blob that a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Final

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Unsatisfiable(ValueError):
    """The range lies wholly behind the end, or is of no length."""


def parse(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the (start, end) of a Range header over `size` bytes, end exclusive; None: send everything.

    One range of bytes is understood. Several at once, other units and what makes no sense are answered with
    everything, as the section allows. Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise Unsatisfiable
    return start, end
